/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which backend of a service a client gets: at a socket and in a packet by the same rules. */
#pragma once
#include "address.h"
#include "../maps/lb.h"

inline_fn struct backend_slot *backend_at_random(const struct service_value *service)
{
	struct slot_key key = { .index = service->offset + bpf_get_prandom_u32() % service->count };

	return bpf_map_lookup_elem(&cilium_lb_slots, &key);
}

struct backend_search {
	struct ip_addr addr;
	__u32 offset;
	be16_t port;
	bool found;
} __attribute__((aligned(8)));

static long backend_compare(__u32 step, void *context)
{
	struct backend_search *search = context;
	struct slot_key key = { .index = search->offset + step };
	struct backend_slot *slot = bpf_map_lookup_elem(&cilium_lb_slots, &key);

	search->found = slot && slot->port == search->port && address_equal(&slot->addr, &search->addr);
	return search->found;
}

/* Asked once per client after each change of the service: it may have many backends. */
subprogram bool backend_belongs(struct service_value *service, struct affinity_value *wanted)
{
	struct backend_search search = { .offset = service->offset, .port = wanted->port };

	address_copy(&search.addr, &wanted->addr);
	bpf_loop(service->count, backend_compare, &search, 0);
	return search.found;
}

/* The backend the client had, if it still is one and the client did not stay away for too long. */
inline_fn struct affinity_value *affinity_find(const struct affinity_key *key, struct service_value *service,
					       seconds_t now)
{
	struct affinity_value *known = bpf_map_lookup_elem(&cilium_lb_affinity, key);

	if (!known || known->last + service->affinity_timeout <= now)
		return 0;
	if (known->generation != service->generation) {
		if (!backend_belongs(service, known))
			return 0;
		known->generation = service->generation;
	}
	known->last = now;
	return known;
}

/*
 * Chooses a backend into `chosen`; its port is the answer, as 1 + port. 0: there is none. `key` names client and service
 * and is asked for only where the service wants affinity.
 */
subprogram int backend_choice(struct service_value *service, struct affinity_key *key, struct ip_addr *chosen,
			      seconds_t now)
{
	bool sticky = service->flags & SERVICE_AFFINITY;
	struct affinity_value fresh __attribute__((aligned(8))) = { .last = now };
	struct affinity_value *known;
	struct backend_slot *slot;

	if (service->count == 0)
		return 0;
	if (sticky) {
		known = affinity_find(key, service, now);
		if (known) {
			address_copy(chosen, &known->addr);
			return 1 + known->port;
		}
	}
	slot = backend_at_random(service);
	if (!slot || address_is_zero(&slot->addr))
		return 0;
	address_copy(chosen, &slot->addr);
	if (sticky) {
		address_copy(&fresh.addr, &slot->addr);
		fresh.port = slot->port;
		fresh.generation = service->generation;
		/* A full map forgets the client that was away for longest. */
		bpf_map_update_elem(&cilium_lb_affinity, key, &fresh, BPF_ANY);
	}
	return 1 + slot->port;
}
