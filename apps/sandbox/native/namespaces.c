/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces of nodes and pods: made here, held by a small process or a pin below /run/netns. */
#include "runtime.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NETNS_DIR "/run/netns"

/* A pin made later must appear in the nodes' mount namespaces, hence a shared mount (as iproute2 makes it). */
void prepare_netns_dir(void)
{
	make_dirs(NETNS_DIR, 0755);
	int lock = open(NETNS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		die_errno("lock %s", NETNS_DIR);
	if (mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) < 0) {
		if (errno != EINVAL)
			die_errno("share %s", NETNS_DIR);
		mount_or_die(NETNS_DIR, NETNS_DIR, "none", MS_BIND | MS_REC, NULL);
		mount_or_die("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL);
	}
	close(lock);
}

void apply_sysctls(const struct strings *settings)
{
	for (size_t i = 0; i < settings->count; i++) {
		char path[PATH_MAX];
		char *equals = strchr(settings->at[i], '=');
		if (!equals)
			die("sysctl without value: %s", settings->at[i]);
		snprintf(path, sizeof(path), "/proc/sys/%.*s", (int)(equals - settings->at[i]), settings->at[i]);
		int fd = open(path, O_WRONLY | O_CLOEXEC);
		/* A kernel without IPv6 or MPTCP lacks some of them: nothing to switch there. */
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0 || write(fd, equals + 1, strlen(equals + 1)) < 0)
			die_errno("sysctl %s", settings->at[i]);
		close(fd);
	}
}

void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		die_errno("bring lo up");
	close(fd);
}

void pin_netns(const char *name)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), NETNS_DIR "/%s", name);
	int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (fd < 0)
		die_errno("create %s", path);
	close(fd);
	if (mount("/proc/self/ns/net", path, "none", MS_BIND, NULL) < 0) {
		int number = errno;
		unlink(path);
		errno = number;
		die_errno("pin network namespace at %s", path);
	}
}

int cmd_netns_create(int argc, char **argv)
{
	struct strings settings = { 0 };
	if (argc < 1)
		die("netns-create: NAME is missing");
	for (int i = 1; i < argc; i++)
		strings_add(&settings, argv[i]);
	prepare_netns_dir();
	if (unshare(CLONE_NEWNET) < 0)
		die_errno("unshare net");
	loopback_up();
	apply_sysctls(&settings);
	pin_netns(argv[0]);
	return 0;
}

/* Forks a process that holds the namespaces; the caller prints its pid once it stands. */
static int fork_holder(int *ready)
{
	int pipes[2];
	if (pipe2(pipes, O_CLOEXEC) < 0)
		die_errno("pipe");
	pid_t pid = fork();
	if (pid < 0)
		die_errno("fork");
	if (pid == 0) {
		close(pipes[0]);
		*ready = pipes[1];
		fail_fd = pipes[1];
		setsid();
		return 0;
	}
	close(pipes[1]);
	char text[2048];
	size_t used = 0;
	ssize_t got;
	while ((got = read(pipes[0], text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)got;
	text[used] = 0;
	if (strcmp(text, "ready") != 0)
		die("%s", used ? text : "namespace holder ended early");
	printf("%d\n", pid);
	fflush(stdout);
	return pid;
}

static void hold(int ready)
{
	sigset_t all;
	write_all(ready, "ready", 5);
	detach_stdio();
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (;;) {
		int number = 0;
		sigwait(&all, &number);
		if (number == SIGCHLD)
			while (waitpid(-1, NULL, WNOHANG) > 0)
				;
		if (number == SIGTERM)
			_exit(0);
	}
}

/* `bind=SOURCE<TAB>TARGET[<TAB>slave]`: machine directories that the node sees as its own. */
static void bind_node_dirs(const struct spec *spec, const char *root)
{
	struct strings binds = { 0 };
	spec_all(spec, "bind", &binds);
	for (size_t i = 0; i < binds.count; i++) {
		char target[PATH_MAX];
		char *copy = strdup(binds.at[i]);
		char *source = strtok(copy, "\t");
		char *to = strtok(NULL, "\t");
		if (!source || !to)
			die("bad bind '%s'", binds.at[i]);
		snprintf(target, sizeof(target), "%s%s", root, to);
		make_dirs(target, 0755);
		mount_or_die(source, target, "none", MS_BIND | MS_REC, NULL);
	}
}

static void build_node_root(const struct spec *spec)
{
	const char *dir = spec_need(spec, "dir");
	char root[PATH_MAX - 64], path[PATH_MAX];
	snprintf(root, sizeof(root), "%s/root", dir);
	mount_overlay(spec, dir);
	snprintf(path, sizeof(path), "%s/proc", root);
	mount_or_die("/proc", path, "none", MS_BIND | MS_REC, NULL);
	snprintf(path, sizeof(path), "%s/dev", root);
	mount_or_die("/dev", path, "none", MS_BIND | MS_REC, NULL);
	snprintf(path, sizeof(path), "%s/sys", root);
	mount_or_die("sysfs", path, "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	snprintf(path, sizeof(path), "%s/sys/fs/bpf", root);
	mount_or_die("bpffs", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700");
	snprintf(path, sizeof(path), "%s/sys/fs/cgroup", root);
	mount_or_die(spec_need(spec, "cgroup_view"), path, "none", MS_BIND, NULL);
	bind_node_dirs(spec, root);
	if (chdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		die_errno("pivot_root to %s", root);
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		die_errno("leave the machine's root");
	/* Shared among the node's own containers (Bidirectional mounts), never towards the machine. */
	mount_or_die("", "/", "none", MS_SHARED | MS_REC, NULL);
}

int cmd_node_create(int argc, char **argv)
{
	struct spec spec;
	char path[PATH_MAX];
	int ready = -1;
	(void)argc;
	(void)argv;
	spec_read(&spec, 0);
	join_cgroup(spec_need(&spec, "cgroup"));
	if (fork_holder(&ready) > 0)
		return 0;
	prctl(PR_SET_NAME, "cts-node");
	snprintf(path, sizeof(path), NETNS_DIR "/%s", spec_need(&spec, "netns"));
	int net = open(path, O_RDONLY | O_CLOEXEC);
	if (net < 0)
		die_errno("open %s", path);
	enter_ns(net, CLONE_NEWNET, path);
	if (unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC) < 0)
		die_errno("unshare node namespaces");
	const char *name = spec_need(&spec, "hostname");
	if (sethostname(name, strlen(name)) < 0)
		die_errno("sethostname %s", name);
	mount_or_die("", "/", "none", MS_SLAVE | MS_REC, NULL);
	build_node_root(&spec);
	hold(ready);
	return 0;
}

int cmd_pod_create(int argc, char **argv)
{
	struct spec spec;
	struct strings settings = { 0 };
	int ready = -1;
	(void)argc;
	(void)argv;
	spec_read(&spec, 0);
	spec_all(&spec, "sysctl", &settings);
	long node = spec_number(&spec, "node_pid", 0);
	int node_fd = pidfd_of(node), node_root = root_of(node);
	join_cgroup(spec_need(&spec, "cgroup"));
	if (spec_flag(&spec, "host_network")) {
		enter_ns(node_fd, CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC, "the node");
	} else {
		if (unshare(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC) < 0)
			die_errno("unshare pod namespaces");
		const char *name = spec_need(&spec, "hostname");
		if (sethostname(name, strlen(name)) < 0)
			die_errno("sethostname %s", name);
		loopback_up();
		apply_sysctls(&settings);
		pin_netns(spec_need(&spec, "netns"));
	}
	if (unshare(CLONE_NEWPID) < 0)
		die_errno("unshare pid");
	if (fork_holder(&ready) > 0)
		return 0;
	prctl(PR_SET_NAME, "pause");
	/* Out of the machine's mount namespace: /proc/1/root of the pod leads to the node at most. */
	enter_ns(node_fd, CLONE_NEWNS, "the node");
	enter_root(node_root, "the node");
	hold(ready);
	return 0;
}

int cmd_node_exec(int argc, char **argv)
{
	if (argc < 3)
		die("node-exec: PID CGROUP PROGRAM is needed");
	long pid = strtol(argv[0], NULL, 10);
	int fd = pidfd_of(pid), root = root_of(pid);
	join_cgroup(argv[1]);
	enter_ns(fd, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS, "the node");
	enter_root(root, "the node");
	signal(SIGPIPE, SIG_DFL);
	execvp(argv[2], argv + 2);
	die_errno("start %s", argv[2]);
}
