/* SPDX-License-Identifier: Apache-2.0 */
/* The last steps before exec: working directory, user, groups, capabilities. */
#include "runtime.h"
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

static void limit_capabilities(uint64_t allowed)
{
	for (int number = 0; number < 64; number++) {
		int held = prctl(PR_CAPBSET_READ, number, 0, 0, 0);
		if (held < 0)
			break;
		if (held == 1 && !(allowed >> number & 1) && prctl(PR_CAPBSET_DROP, number, 0, 0, 0) < 0)
			die_errno("drop capability %d", number);
	}
}

static void set_capabilities(uint64_t allowed)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	if (syscall(SYS_capget, &header, data) < 0)
		die_errno("capget");
	for (int half = 0; half < 2; half++) {
		uint32_t mask = (uint32_t)(allowed >> (32 * half));
		data[half].permitted &= mask;
		data[half].effective = data[half].permitted;
		data[half].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, data) < 0)
		die_errno("capset");
}

void become_user(const struct spec *spec)
{
	struct strings names = { 0 };
	gid_t groups[64];
	size_t count = 0;
	uid_t uid = (uid_t)spec_number(spec, "uid", 0);
	gid_t gid = (gid_t)spec_number(spec, "gid", 0);
	const char *caps = spec_get(spec, "caps");
	uint64_t allowed = caps ? strtoull(caps, NULL, 16) : ~0ULL;
	spec_all(spec, "group", &names);
	for (; count < names.count && count < 64; count++)
		groups[count] = (gid_t)strtoul(names.at[count], NULL, 10);
	if (caps)
		limit_capabilities(allowed);
	if (setgroups(count, groups) < 0 || setresgid(gid, gid, gid) < 0)
		die_errno("set group %u", gid);
	if (setresuid(uid, uid, uid) < 0)
		die_errno("set user %u", uid);
	if (caps)
		set_capabilities(allowed);
	if (spec_flag(spec, "no_new_privileges") && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		die_errno("no_new_privs");
}

/* Replaces the process; on failure exits with 127 (not found) or 126, message on fail_fd. */
void exec_program(const struct spec *spec)
{
	struct strings arguments = { 0 }, environment = { 0 };
	sigset_t none;
	const char *directory = spec_get(spec, "cwd");
	spec_all(spec, "arg", &arguments);
	spec_all(spec, "env", &environment);
	if (arguments.count == 0)
		die("no command");
	if (directory && directory[0] && chdir(directory) < 0) {
		/* As container runtimes do: a working directory that is absent is made. */
		if (errno != ENOENT || mkdir(directory, 0755) < 0 || chdir(directory) < 0)
			die_errno("working directory %s", directory);
	}
	become_user(spec);
	static char *nothing[] = { NULL };
	environ = environment.at ? environment.at : nothing;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	umask(022);
	execvp(arguments.at[0], arguments.at);
	char text[512];
	int code = errno == ENOENT ? 127 : 126;
	snprintf(text, sizeof(text), "exec: \"%.300s\": %s%s", arguments.at[0], strerror(errno),
		 errno == ENOENT && !strchr(arguments.at[0], '/') ? " in $PATH" : "");
	write_all(fail_fd, text, strlen(text));
	if (fail_fd == 2)
		write_all(2, "\n", 1);
	_exit(code);
}
