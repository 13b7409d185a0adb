/* SPDX-License-Identifier: Apache-2.0 */
/* cts-runtime: makes namespaces, starts and enters containers. One static binary, a command per job. */
#ifndef CTS_RUNTIME_H
#define CTS_RUNTIME_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

/* A list of strings that ends with NULL, fit for argv and envp. */
struct strings {
	char **at;
	size_t count;
};
void strings_add(struct strings *list, char *value);

/*
 * A specification: records `key=value`, each ended by a NUL byte, read to the end of a descriptor.
 * Keys may repeat; order is kept.
 */
struct spec {
	char *bytes;
	struct strings keys;
	struct strings values;
};
void spec_read(struct spec *spec, int fd);
const char *spec_get(const struct spec *spec, const char *key);
const char *spec_need(const struct spec *spec, const char *key);
long spec_number(const struct spec *spec, const char *key, long fallback);
bool spec_flag(const struct spec *spec, const char *key);
void spec_all(const struct spec *spec, const char *key, struct strings *into);

/* Ends the process with a message on the place that `fail_to` names (standard error unless told). */
extern int fail_fd;
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);
__attribute__((noreturn, format(printf, 1, 2))) void die_errno(const char *format, ...);

void write_all(int fd, const void *data, size_t size);
void write_file(const char *path, const char *text);
void join_cgroup(const char *dir);
void make_dirs(const char *path, mode_t mode);
void detach_stdio(void);

int pidfd_of(long pid);
int ns_of(long pid, const char *kind);
void enter_ns(int fd, int kind, const char *what);
int root_of(long pid);
void enter_root(int fd, const char *what);

/* namespaces.c */
void prepare_netns_dir(void);
void apply_sysctls(const struct strings *settings);
void loopback_up(void);
void pin_netns(const char *name);
int cmd_netns_create(int argc, char **argv);
int cmd_node_create(int argc, char **argv);
int cmd_pod_create(int argc, char **argv);
int cmd_node_exec(int argc, char **argv);

/* mounts.c */
struct volume {
	int tree;
	char *target;
	bool read_only;
	unsigned long propagation;
};
struct volumes {
	struct volume *at;
	size_t count;
};
void mount_or_die(const char *source, const char *target, const char *type, unsigned long flags, const char *data);
void mount_overlay(const struct spec *spec, const char *dir);
void collect_volumes(const struct spec *spec, struct volumes *into);
void build_root(const struct spec *spec, const char *root, const struct volumes *volumes);
void finish_root(const struct spec *spec, const char *root);

/* identity.c: user, groups, capabilities of the program to be started */
void become_user(const struct spec *spec);
__attribute__((noreturn)) void exec_program(const struct spec *spec);

/* logs.c */
struct log_stream {
	int fd;
	const char *name;
	char *line;
	size_t used;
};
void log_open(const char *path);
bool log_pump(struct log_stream *stream);
void log_flush(struct log_stream *stream);

int cmd_container_run(int argc, char **argv);
int cmd_container_exec(int argc, char **argv);
int cmd_dial(int argc, char **argv);
int cmd_relay(int argc, char **argv);
int cmd_guard(int argc, char **argv);

#endif
