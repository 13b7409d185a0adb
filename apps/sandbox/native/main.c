/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "netns-create", cmd_netns_create, "NAME [sysctl=value...]: a network namespace, pinned below /run/netns" },
	{ "node-create", cmd_node_create, "a node's mount, net and uts namespace; specification on stdin" },
	{ "pod-create", cmd_pod_create, "a pod's pid, net, uts and ipc namespace; specification on stdin" },
	{ "node-exec", cmd_node_exec, "PID CGROUP PROGRAM [ARG...]: a program in a node's mount and net namespace" },
	{ "container-run", cmd_container_run, "starts a container and stays beside it; specification on stdin" },
	{ "container-exec", cmd_container_exec, "a program in a running container; specification on descriptor 3" },
	{ "dial", cmd_dial, "NETNS HOST PORT TIMEOUT_MS [probe]: a TCP connection from a namespace as stdin/stdout" },
	{ "relay", cmd_relay, "NETNS TO_HOST TO_PORT LISTEN_HOST LISTEN_PORT...: TCP from one namespace to here" },
	{ "guard", cmd_guard, "CGROUP PROGRAM [ARG...]: a program that ends with its parent" },
};

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 2, argv + 2);
	fprintf(stderr, "usage: cts-runtime COMMAND ...\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(stderr, "  %-15s %s\n", commands[i].name, commands[i].help);
	return 2;
}
