/* SPDX-License-Identifier: Apache-2.0 */
/* A container's root: an overlay over the machine's file system, with /proc, /sys, /dev, /run and volumes of its own. */
#include "runtime.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

void mount_or_die(const char *source, const char *target, const char *type, unsigned long flags, const char *data)
{
	if (mount(source, target, type, flags, data) < 0)
		die_errno("mount %s on %s (%s)", source[0] ? source : "propagation", target, type);
}

static void append_escaped(char *out, size_t room, const char *path)
{
	size_t at = strlen(out);
	for (; *path && at + 3 < room; path++) {
		if (*path == ':' || *path == ',' || *path == '\\')
			out[at++] = '\\';
		out[at++] = *path;
	}
	out[at] = 0;
}

/*
 * An image layer lies somewhere below the machine's root, which is a layer as well: overlapping layers are refused. Seen
 * through a read-only overlay of its own it lies on another file system. Writes the mount point to OUT.
 */
static void mount_layer_apart(const char *layer, const char *dir, size_t number, char *out, size_t room)
{
	char options[2 * PATH_MAX] = "lowerdir=", empty[PATH_MAX];
	snprintf(empty, sizeof(empty), "%s/empty", dir);
	make_dirs(empty, 0755);
	snprintf(out, room, "%s/layer%zu", dir, number);
	make_dirs(out, 0755);
	append_escaped(options, sizeof(options), layer);
	strcat(options, ":");
	append_escaped(options, sizeof(options), empty);
	mount_or_die("overlay", out, "overlay", MS_RDONLY, options);
}

/* `lower=` records name image layers, topmost first; the machine's root is always the lowest layer. */
void mount_overlay(const struct spec *spec, const char *dir)
{
	char options[3 * PATH_MAX] = "lowerdir=", path[PATH_MAX], root[PATH_MAX];
	struct strings layers = { 0 };
	spec_all(spec, "lower", &layers);
	for (size_t i = 0; i < layers.count; i++) {
		mount_layer_apart(layers.at[i], dir, i, path, sizeof(path));
		append_escaped(options, sizeof(options), path);
		strcat(options, ":");
	}
	strcat(options, "/,upperdir=");
	snprintf(path, sizeof(path), "%s/upper", dir);
	make_dirs(path, 0755);
	append_escaped(options, sizeof(options), path);
	strcat(options, ",workdir=");
	snprintf(path, sizeof(path), "%s/work", dir);
	make_dirs(path, 0755);
	append_escaped(options, sizeof(options), path);
	snprintf(root, sizeof(root), "%s/root", dir);
	make_dirs(root, 0755);
	/* What is written goes with the pod, so nothing has to reach the disk in order: "volatile". */
	strcat(options, ",volatile");
	if (mount("overlay", root, "overlay", 0, options) < 0) {
		options[strlen(options) - strlen(",volatile")] = 0;
		mount_or_die("overlay", root, "overlay", 0, options);
	}
	/* The overlay holds its layers by itself. */
	for (size_t i = 0; i < layers.count; i++) {
		snprintf(path, sizeof(path), "%s/layer%zu", dir, i);
		umount2(path, MNT_DETACH);
	}
}

static int open_below(int dir, const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC), .resolve = RESOLVE_IN_ROOT };
	if ((flags & O_CREAT) != 0)
		how.mode = 0644;
	return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

/* Makes PATH below DIR, following links as if DIR were the root, and returns a path descriptor of it. */
static int make_below(int dir, const char *path, bool as_file)
{
	char part[PATH_MAX];
	int at = open_below(dir, path, O_PATH);
	if (at >= 0)
		return at;
	snprintf(part, sizeof(part), "%s", path);
	char *slash = strrchr(part, '/');
	const char *name = slash ? slash + 1 : part;
	int parent;
	if (slash && slash != part) {
		*slash = 0;
		parent = make_below(dir, part, false);
	} else {
		parent = open_below(dir, "/", O_PATH);
	}
	if (parent < 0)
		return -1;
	if (as_file) {
		/* A link that leads nowhere (resolv.conf of a machine with a resolver in /run) gives way to a file. */
		unlinkat(parent, name, 0);
		int file = openat(parent, name, O_CREAT | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (file >= 0)
			close(file);
	} else {
		mkdirat(parent, name, 0755);
	}
	close(parent);
	return open_below(dir, path, O_PATH);
}

static unsigned long propagation_of(const char *word)
{
	if (strcmp(word, "shared") == 0)
		return MS_SHARED;
	return strcmp(word, "slave") == 0 ? MS_SLAVE : MS_PRIVATE;
}

static void create_source(const char *path, const char *kind)
{
	if (strcmp(kind, "dir-create") == 0)
		make_dirs(path, 0755);
	if (strcmp(kind, "file-create") == 0) {
		int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
		if (fd < 0)
			die_errno("create %s", path);
		close(fd);
	}
}

/*
 * `mount=WHERE<TAB>ro|rw<TAB>private|slave|shared<TAB>any|dir-create|file-create<TAB>SOURCE<TAB>SUB<TAB>TARGET`
 * WHERE is `machine` or `node`: the mount namespace in which SOURCE is looked up. SUB may be empty and never
 * leads out of SOURCE.
 */
static void collect_one(char *record, const char *where, struct volumes *into)
{
	char *field[7];
	for (int i = 0; i < 7; i++) {
		field[i] = strsep(&record, "\t");
		if (!field[i])
			die("bad mount record");
	}
	if (strcmp(field[0], where) != 0)
		return;
	create_source(field[4], field[3]);
	int fd = open(field[4], O_PATH | O_CLOEXEC);
	if (fd < 0)
		die_errno("volume source %s", field[4]);
	if (field[5][0]) {
		int sub = make_below(fd, field[5], false);
		if (sub < 0)
			die_errno("subPath %s of %s", field[5], field[4]);
		close(fd);
		fd = sub;
	}
	int tree = (int)syscall(SYS_open_tree, fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
	if (tree < 0)
		die_errno("open_tree %s", field[4]);
	close(fd);
	into->at = realloc(into->at, (into->count + 1) * sizeof(struct volume));
	into->at[into->count++] = (struct volume){
		.tree = tree,
		.target = strdup(field[6]),
		.read_only = strcmp(field[1], "ro") == 0,
		.propagation = propagation_of(field[2]),
	};
}

static int by_target(const void *a, const void *b)
{
	return strcmp(((const struct volume *)a)->target, ((const struct volume *)b)->target);
}

/* Takes detached copies of all volume sources; call it in the machine's mount namespace. */
void collect_volumes(const struct spec *spec, struct volumes *into)
{
	struct strings records = { 0 };
	int machine = ns_of(getpid(), "mnt");
	int node = pidfd_of(spec_number(spec, "node_pid", 0));
	int machine_root = root_of(getpid()), node_root = root_of(spec_number(spec, "node_pid", 0));
	spec_all(spec, "mount", &records);
	for (size_t i = 0; i < records.count; i++)
		collect_one(strdup(records.at[i]), "machine", into);
	enter_ns(node, CLONE_NEWNS, "the node");
	enter_root(node_root, "the node");
	for (size_t i = 0; i < records.count; i++)
		collect_one(strdup(records.at[i]), "node", into);
	if (spec_flag(spec, "node_sys"))
		collect_one(strdup("node\trw\tslave\tany\t/sys\t\t/sys"), "node", into);
	enter_ns(machine, CLONE_NEWNS, "the machine");
	enter_root(machine_root, "the machine");
	close(machine);
	close(node);
	/* Outer targets first, so that an inner one is not hidden. */
	if (into->count > 1)
		qsort(into->at, into->count, sizeof(struct volume), by_target);
}

static void place_volume(int root, const struct volume *volume)
{
	struct stat status;
	char path[64];
	if (fstat(volume->tree, &status) < 0)
		die_errno("stat volume for %s", volume->target);
	int target = make_below(root, volume->target, !S_ISDIR(status.st_mode));
	if (target < 0)
		die_errno("mount point %s", volume->target);
	if (syscall(SYS_move_mount, volume->tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		die_errno("place volume at %s", volume->target);
	close(target);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", volume->tree);
	mount_or_die("", path, "none", volume->propagation | MS_REC, NULL);
	if (volume->read_only) {
		struct mount_attr attributes = { .attr_set = MOUNT_ATTR_RDONLY };
		if (syscall(SYS_mount_setattr, volume->tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof(attributes)) < 0)
			die_errno("make %s read-only", volume->target);
	}
	close(volume->tree);
}

static void make_device(const char *root, const char *name, unsigned major_number, unsigned minor_number)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/dev/%s", root, name);
	if (mknod(path, S_IFCHR | 0666, makedev(major_number, minor_number)) < 0)
		die_errno("mknod %s", path);
	chmod(path, 0666);
}

static void build_dev(const char *root)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/dev", root);
	mount_or_die("tmpfs", path, "tmpfs", MS_NOSUID, "mode=0755,size=65536k");
	make_device(root, "null", 1, 3);
	make_device(root, "zero", 1, 5);
	make_device(root, "full", 1, 7);
	make_device(root, "random", 1, 8);
	make_device(root, "urandom", 1, 9);
	make_device(root, "tty", 5, 0);
	static const char *const links[][2] = {
		{ "/proc/self/fd", "fd" }, { "/proc/self/fd/0", "stdin" }, { "/proc/self/fd/1", "stdout" },
		{ "/proc/self/fd/2", "stderr" }, { "pts/ptmx", "ptmx" },
	};
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		snprintf(path, sizeof(path), "%s/dev/%s", root, links[i][1]);
		if (symlink(links[i][0], path) < 0)
			die_errno("link %s", path);
	}
	snprintf(path, sizeof(path), "%s/dev/net", root);
	mkdir(path, 0755);
	make_device(root, "net/tun", 10, 200);
	snprintf(path, sizeof(path), "%s/dev/pts", root);
	mkdir(path, 0755);
	mount_or_die("devpts", path, "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
	snprintf(path, sizeof(path), "%s/dev/shm", root);
	mkdir(path, 01777);
	mount_or_die("shm", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=65536k");
}

/* In the container's new mount namespace, before its process enters the pid namespace. */
void build_root(const struct spec *spec, const char *dir, const struct volumes *volumes)
{
	struct strings hidden = { 0 };
	char root[PATH_MAX - 64], path[PATH_MAX];
	mount_overlay(spec, dir);
	snprintf(root, sizeof(root), "%s/root", dir);
	build_dev(root);
	snprintf(path, sizeof(path), "%s/run", root);
	mount_or_die("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=65536k");
	if (!spec_flag(spec, "node_sys")) {
		snprintf(path, sizeof(path), "%s/sys", root);
		mount_or_die("sysfs", path, "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL);
	}
	spec_all(spec, "hide", &hidden);
	for (size_t i = 0; i < hidden.count; i++) {
		snprintf(path, sizeof(path), "%s%s", root, hidden.at[i]);
		mount_or_die("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "mode=0755,size=4k");
	}
	int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		die_errno("open %s", root);
	for (size_t i = 0; i < volumes->count; i++)
		place_volume(fd, &volumes->at[i]);
	close(fd);
}

/* By the container's own process, in its pid namespace: /proc, then the switch of root. */
void finish_root(const struct spec *spec, const char *dir)
{
	char root[PATH_MAX - 64], path[PATH_MAX];
	snprintf(root, sizeof(root), "%s/root", dir);
	snprintf(path, sizeof(path), "%s/proc", root);
	mount_or_die("proc", path, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	if (!spec_flag(spec, "privileged")) {
		snprintf(path, sizeof(path), "%s/proc/sys", root);
		mount_or_die(path, path, "none", MS_BIND | MS_REC, NULL);
		mount_or_die("", path, "none", MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	}
	if (spec_flag(spec, "read_only_root"))
		mount_or_die("", root, "none", MS_BIND | MS_REMOUNT | MS_RDONLY, NULL);
	if (chdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		die_errno("pivot_root to %s", root);
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		die_errno("leave the machine's root");
}
