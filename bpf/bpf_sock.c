/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Services at the socket: a program asks for a service, its socket is connected to a backend, no packet is translated.
 * What the program sees (getpeername, the sender of a datagram) stays the service.
 */
#include "lib/base.h"
#include "lib/address.h"
#include "lib/backend.h"
#include "maps/lb_socket.h"

#define ALLOW 1
#define REFUSE 0
#define ECONNREFUSED 111

/* The address an operation names, in the one form of both families. */
struct target {
	struct ip_addr addr;
	be16_t port;
	__u16 pad[3];
} __attribute__((aligned(8)));

inline_fn void target_read(struct bpf_sock_addr *ctx, struct target *t, bool v6)
{
	if (v6) {
		t->addr.words[0] = ctx->user_ip6[0];
		t->addr.words[1] = ctx->user_ip6[1];
		t->addr.words[2] = ctx->user_ip6[2];
		t->addr.words[3] = ctx->user_ip6[3];
	} else {
		address_from_ipv4(&t->addr, ctx->user_ip4);
	}
	t->port = (be16_t)ctx->user_port;
}

/* False where the socket cannot carry the address: an IPv4 socket and an IPv6 backend. */
inline_fn bool target_write(struct bpf_sock_addr *ctx, const struct ip_addr *addr, be16_t port, bool v6)
{
	if (v6) {
		ctx->user_ip6[0] = addr->words[0];
		ctx->user_ip6[1] = addr->words[1];
		ctx->user_ip6[2] = addr->words[2];
		ctx->user_ip6[3] = addr->words[3];
	} else {
		if (!address_is_ipv4(addr))
			return false;
		ctx->user_ip4 = addr->words[3];
	}
	ctx->user_port = port;
	return true;
}

inline_fn struct service_value *find_service(const struct target *t, __u8 protocol)
{
	struct service_key key = { .port = t->port, .protocol = protocol };

	address_copy(&key.addr, &t->addr);
	return bpf_map_lookup_elem(&cilium_lb_services, &key);
}

inline_fn void remember(struct bpf_sock_addr *ctx, const struct target *backend, const struct target *asked,
			service_id_t service)
{
	struct socket_reverse_key key = { .cookie = bpf_get_socket_cookie(ctx), .port = backend->port };
	struct socket_reverse_value value = { .port = asked->port, .service = service };

	__builtin_memcpy(&key.addr, &backend->addr, 16);
	__builtin_memcpy(&value.addr, &asked->addr, 16);
	bpf_map_update_elem(&cilium_lb_reverse_sk, &key, &value, BPF_ANY);
}

/* All sockets of a pod are one client; so are those of the node. */
inline_fn void socket_client(struct bpf_sock_addr *ctx, struct affinity_key *client)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);

	client->client.words[2] = cookie >> 32;
	client->client.words[3] = (__u32)cookie;
	client->socket = 1;
}

/* connect and sendmsg: the service's address becomes a backend's. */
inline_fn int translate(struct bpf_sock_addr *ctx, bool v6)
{
	struct target asked = {}, backend = {};
	struct service_value *service;
	int result;

	if (!has(CONFIG_SOCKET_LB))
		return ALLOW;
	target_read(ctx, &asked, v6);
	service = find_service(&asked, ctx->protocol);
	if (!service)
		return ALLOW;
	struct affinity_key client __attribute__((aligned(8))) = { .service = service->id };

	if (service->flags & SERVICE_AFFINITY)
		socket_client(ctx, &client);
	result = backend_choice(service, &client, &backend.addr, tick_seconds(bpf_ktime_get_coarse_ns() >> 24));
	backend.port = result - 1;
	if (result <= 0 || !target_write(ctx, &backend.addr, backend.port, v6))
		goto refuse;
	remember(ctx, &backend, &asked, service->id);
	return ALLOW;
refuse:
	bpf_set_retval(-ECONNREFUSED);
	return REFUSE;
}

/* recvmsg and getpeername: the backend's address becomes the service's again. */
inline_fn int restore(struct bpf_sock_addr *ctx, bool v6)
{
	struct target seen = {};
	struct socket_reverse_key key = {};
	struct socket_reverse_value *asked;
	struct ip_addr addr __attribute__((aligned(8)));

	if (!has(CONFIG_SOCKET_LB))
		return ALLOW;
	target_read(ctx, &seen, v6);
	key.cookie = bpf_get_socket_cookie(ctx);
	address_copy(&key.addr, &seen.addr);
	key.port = seen.port;
	asked = bpf_map_lookup_elem(&cilium_lb_reverse_sk, &key);
	if (asked) {
		__builtin_memcpy(&addr, &asked->addr, 16);
		target_write(ctx, &addr, asked->port, v6);
	}
	return ALLOW;
}

SEC("cgroup/connect4")
int cil_sock4_connect(struct bpf_sock_addr *ctx)
{
	return translate(ctx, false);
}

SEC("cgroup/connect6")
int cil_sock6_connect(struct bpf_sock_addr *ctx)
{
	return translate(ctx, true);
}

SEC("cgroup/sendmsg4")
int cil_sock4_sendmsg(struct bpf_sock_addr *ctx)
{
	return translate(ctx, false);
}

SEC("cgroup/sendmsg6")
int cil_sock6_sendmsg(struct bpf_sock_addr *ctx)
{
	return translate(ctx, true);
}

SEC("cgroup/recvmsg4")
int cil_sock4_recvmsg(struct bpf_sock_addr *ctx)
{
	return restore(ctx, false);
}

SEC("cgroup/recvmsg6")
int cil_sock6_recvmsg(struct bpf_sock_addr *ctx)
{
	return restore(ctx, true);
}

SEC("cgroup/getpeername4")
int cil_sock4_getpeername(struct bpf_sock_addr *ctx)
{
	return restore(ctx, false);
}

SEC("cgroup/getpeername6")
int cil_sock6_getpeername(struct bpf_sock_addr *ctx)
{
	return restore(ctx, true);
}

char _license[] SEC("license") = "Dual BSD/GPL";
