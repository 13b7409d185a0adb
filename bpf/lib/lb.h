/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Services, packet by packet: for pods whose sockets are not under our cgroup hooks. */
#pragma once
#include "backend.h"
#include "conntrack.h"
#include "rewrite.h"

#define LB_FAIL(reason) FAIL_AT(FILE_LIB_LB, reason)

inline_fn struct service_value *service_lookup(const struct ip_addr *address, be16_t port, __u8 protocol)
{
	struct service_key key = { .port = port, .protocol = protocol };

	__builtin_memcpy(&key.addr, address, 16);
	return bpf_map_lookup_elem(&cilium_lb_services, &key);
}

/* A remembered choice holds while the flow lives; a datagram flow chooses again when the service has changed. */
inline_fn bool choice_holds(const struct run *r, const struct ct_entry *choice, const struct service_value *service)
{
	if (!choice || choice->expires <= r->now || choice->service != service->id)
		return false;
	if (r->packet.protocol == IPPROTO_TCP)
		return !is_pure_syn(&r->packet);
	return choice->epoch_egress == service->generation;
}

inline_fn int backend_choose(struct run *r, struct ct_key *key, struct service_value *service)
{
	struct affinity_key client __attribute__((aligned(8))) = { .service = service->id };
	struct ct_entry *choice = &r->entry;
	bool tcp = r->packet.protocol == IPPROTO_TCP;
	int result;

	address_copy(&client.client, &r->packet.source);
	*choice = (struct ct_entry){};
	result = backend_choice(service, &client, &choice->backend, r->now);
	if (result <= 0)
		return LB_FAIL(DROP_NO_BACKEND);
	choice->backend_port = result - 1;
	choice->service = service->id;
	choice->epoch_egress = service->generation;
	choice->expires = r->now + (tcp ? config.ct_tcp : config.ct_any);
	if (tcp ? bpf_map_update_elem(&cilium_ct_global, key, choice, BPF_ANY) :
		  bpf_map_update_elem(&cilium_ct_any_global, key, choice, BPF_ANY))
		return LB_FAIL(DROP_CT_INSERTION_FAILED);
	return 0;
}

/*
 * If the destination is a service: sets r->service, and the chosen backend in `chosen`, the port as the answer.
 * 0: no service. Otherwise a failure, or 1 + port.
 */
subprogram int service_choose(struct run *r, struct ip_addr *chosen)
{
	struct packet *p = &r->packet;
	struct service_value *service;
	struct flow f = {};
	struct ct_entry *known;
	int result;

	if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP && p->protocol != IPPROTO_SCTP)
		return 0;
	service = service_lookup(&p->destination, p->destination_port, p->protocol);
	if (!service)
		return 0;
	r->service = service->id;
	flow_key(&f, p, CT_SERVICE);
	known = p->protocol == IPPROTO_TCP ? bpf_map_lookup_elem(&cilium_ct_global, &f.key) :
					     bpf_map_lookup_elem(&cilium_ct_any_global, &f.key);
	if (choice_holds(r, known, service)) {
		known->expires = r->now + (p->protocol == IPPROTO_TCP ? config.ct_tcp : config.ct_any);
		address_copy(chosen, &known->backend);
		return 1 + known->backend_port;
	}
	result = backend_choose(r, &f.key, service);
	if (result < 0)
		return result;
	address_copy(chosen, &r->entry.backend);
	return 1 + r->entry.backend_port;
}

/* A pod that picks itself would take its own address as the sender for a forgery: it sees the loopback address. */
subprogram int loopback_source(struct __sk_buff *skb, struct packet *p)
{
	const volatile struct ip_addr *loopback = p->flags & PACKET_IPV6 ? &config.loopback_ipv6 : &config.loopback_ipv4;
	struct ip_addr address __attribute__((aligned(8)));

	for (int i = 0; i < 4; i++)
		address.words[i] = loopback->words[i];
	if (address_is_zero(&address))
		return LB_FAIL(DROP_NAT_UNSUPPORTED);
	return rewrite(skb, p, &address, PORT_END(p->source_port, REWRITE_SOURCE));
}

/* 1: translated to a backend, look up the connection again. 0: no service. Or a failure. */
inline_fn int service_translate(struct __sk_buff *skb, struct run *r)
{
	struct ip_addr backend __attribute__((aligned(8)));
	int result;

	address_copy(&backend, &r->original_ip);
	result = service_choose(r, &backend);
	if (result <= 0)
		return result;
	r->loopback = address_equal(&backend, &r->packet.source);
	result = rewrite(skb, &r->packet, &backend, PORT_END((be16_t)(result - 1), REWRITE_DESTINATION));
	if (result >= 0 && unlikely(r->loopback))
		result = loopback_source(skb, &r->packet);
	return result < 0 ? result : 1;
}

/* A reply gets back the address that the client had asked for. */
subprogram int service_restore(struct __sk_buff *skb, struct run *r, service_id_t service)
{
	struct reverse_nat_key key = { .id = service };
	struct reverse_nat_value *value = bpf_map_lookup_elem(&cilium_lb_reverse_nat, &key);
	struct ip_addr frontend __attribute__((aligned(8)));

	if (!value)
		return 0;
	r->service = service;
	address_copy(&r->original_ip, &r->packet.source);
	__builtin_memcpy(&frontend, &value->addr, 16);
	return rewrite(skb, &r->packet, &frontend, PORT_END(value->port, REWRITE_SOURCE));
}
