/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Services: a frontend holds a range of one flat array of backend slots; a change writes a fresh range, then this one value. */
#pragma once
#include "types.h"

enum service_flags {
	SERVICE_CLUSTER_IP = 1,
	SERVICE_NODE_PORT = 2,
	SERVICE_LOAD_BALANCER = 4,
	SERVICE_EXTERNAL_IP = 8,
	SERVICE_AFFINITY = 16,		/* a client stays with its backend for affinity_timeout */
	SERVICE_LOCAL_ONLY = 32,
};

struct service_key {
	struct ip_addr addr;
	be16_t port;
	__u8 protocol;
	__u8 scope;			/* 0 external, 1 internal */
};
_Static_assert(sizeof(struct service_key) == 20, "service_key");

struct service_value {
	service_id_t id;
	__u32 offset;			/* first slot */
	__u32 count;			/* slots, 0 = no backend: dropped with SERVICE_BACKEND_NOT_FOUND */
	__u32 generation;
	seconds_t affinity_timeout;
	__u32 flags;			/* enum service_flags */
};
_Static_assert(sizeof(struct service_value) == 24, "service_value");

struct slot_key {
	__u32 index;
};

struct backend_slot {
	struct ip_addr addr;
	be16_t port;
	__u8 protocol;
	__u8 flags;
	__u32 backend_id;
};
_Static_assert(sizeof(struct backend_slot) == 24, "backend_slot");

struct reverse_nat_key {
	service_id_t id;
};

struct reverse_nat_value {
	struct ip_addr addr;
	be16_t port;
	__u16 pad;
};

/* What recvmsg and getpeername restore: the backend a socket was sent to -> the address the program asked for. */
struct socket_reverse_key {
	__u64 cookie;
	struct ip_addr addr;
	be16_t port;
	__u16 pad;
	__u32 pad2;
};
_Static_assert(sizeof(struct socket_reverse_key) == 32, "socket_reverse_key");

struct socket_reverse_value {
	struct ip_addr addr;
	be16_t port;
	__u16 pad;
	service_id_t service;
};

/* Whose backend is remembered: an address, or at a socket the cookie of its network namespace in the last two words. */
struct affinity_key {
	struct ip_addr client;
	service_id_t service;
	__u32 socket;			/* 1: client is a cookie */
};
_Static_assert(sizeof(struct affinity_key) == 24, "affinity_key");

struct affinity_value {
	struct ip_addr addr;
	be16_t port;
	__u16 pad;
	__u32 generation;		/* of the service, when this backend was last known to belong to it */
	seconds_t last;			/* when the client last began something */
	__u32 pad2;
};
_Static_assert(sizeof(struct affinity_value) == 32, "affinity_value");
