/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Programs of a pod's veth, host side: what leaves the pod and what the stack sends into it. */
#include "lib/base.h"
#include "lib/icmp.h"
#include "lib/deliver.h"

#define LXC_FAIL(reason) FAIL_AT(FILE_BPF_LXC, reason)

/* A pod may only speak as itself. */
inline_fn int check_source(struct __sk_buff *skb, struct run *r, const struct endpoint_value *endpoint)
{
	const struct ethhdr *ethernet = (void *)(long)skb->data;
	const struct packet *p = &r->packet;

	if (!has(CONFIG_SOURCE_IP_CHECK) || (endpoint->flags & ENDPOINT_SKIP_SPOOF_CHECK))
		return 0;
	if ((void *)(ethernet + 1) > (void *)(long)skb->data_end)
		return LXC_FAIL(DROP_INVALID_PACKET);
	if (*(__u32 *)ethernet->h_source != *(const __u32 *)endpoint->mac.bytes ||
	    *(__u16 *)(ethernet->h_source + 4) != *(const __u16 *)(endpoint->mac.bytes + 4))
		return LXC_FAIL(DROP_INVALID_SOURCE_MAC);
	if (!address_equal(&p->source, p->flags & PACKET_IPV6 ? &endpoint->ipv6 : &endpoint->ipv4))
		return LXC_FAIL(DROP_INVALID_SOURCE_IP);
	return 0;
}

/* A stale answer about a flow also asks the services again: one may have come since. */
inline_fn bool service_possible(struct run *r, struct flow *f)
{
	if (!has(CONFIG_PER_PACKET_LB) || (r->packet.flags & PACKET_ICMP_ERROR))
		return false;
	if (!f->entry)
		return true;
	return f->origin && (f->entry->epoch_egress != r->epoch || is_pure_syn(&r->packet));
}

/*
 * Behind which device the destination lives: an ifindex or enum ct_target. A flow remembers it for one policy epoch, which
 * moves whenever a pod comes or goes.
 */
inline_fn __u32 find_target(struct run *r, struct flow *f)
{
	struct lxc_value *local;
	__u64 *known = 0;
	__u32 target = CT_TARGET_OUTSIDE;

	if (likely(f->entry)) {
		known = f->origin ? &f->entry->target_origin : &f->entry->target_reply;
		__u64 value = *(volatile __u64 *)known;

		if (likely((__u32)(value >> 32) == r->epoch && (__u32)value != CT_TARGET_UNKNOWN &&
			   !is_pure_syn(&r->packet)))
			return value;
	}
	local = bpf_map_lookup_elem(&cilium_lxc, &r->packet.destination);
	if (local) {
		r->peer_endpoint = local->id;
		target = local->flags & ENDPOINT_HOST ? CT_TARGET_HOST : local->ifindex;
	}
	if (known)
		*(volatile __u64 *)known = (__u64)r->epoch << 32 | target;
	return target;
}

inline_fn bool is_pod(__u32 target)
{
	return target < CT_TARGET_OUTSIDE;
}

/*
 * A pod that talks to itself through a service. No policy is asked, as it is not within the pod; but the flow is marked
 * as judged by nobody, so that a packet from elsewhere that claims to belong to it is.
 */
inline_fn int hairpin(struct __sk_buff *skb, struct run *r, struct flow *f)
{
	__u32 ifindex = skb->ifindex;
	int result;

	r->destination_identity = r->source_identity;
	result = account(skb, r, f, CT_LOOPBACK);
	if (result < 0)
		return result;
	r->peer_endpoint = r->endpoint;
	count_forward(skb, r);
	if (f->entry && !f->origin && !(r->packet.flags & PACKET_RELATED)) {
		struct ip_addr pod __attribute__((aligned(8)));

		address_copy(&pod, &r->packet.source);
		result = service_restore(skb, r, f->entry->service);
		if (result < 0)
			return result;
		result = rewrite(skb, &r->packet, &pod, PORT_END(r->packet.destination_port, REWRITE_DESTINATION));
		if (result < 0)
			return result;
	}
	return deliver_to_pod(skb, r, f, ifindex);
}

inline_fn int leave_pod(struct __sk_buff *skb, struct run *r)
{
	struct endpoint_key key = { .ifindex = skb->ifindex };
	struct endpoint_value *endpoint = bpf_map_lookup_elem(&cilium_endpoints, &key);
	struct flow f;
	__u32 ok = 0, target;
	int result;

	if (!endpoint)
		return LXC_FAIL(DROP_NO_RULE_SET);
	r->endpoint = endpoint->id;
	r->source_identity = endpoint->identity;
	result = check_source(skb, r, endpoint);
	if (result < 0)
		return result;
	if (unlikely(r->packet.flags & PACKET_ICMP_ERROR))
		related_tuple(skb, &r->packet);
	ct_lookup(r, &f);
	if (unlikely(service_possible(r, &f))) {
		result = service_translate(skb, r);
		if (result < 0)
			return result;
		if (result > 0)
			ct_lookup(r, &f);
	}
	if (unlikely(r->loopback || (f.entry && (f.entry->flags & CT_LOOPBACK))))
		return hairpin(skb, r, &f);
	target = find_target(r, &f);
	result = judge(skb, r, &f, endpoint, key.ifindex, true, &ok);
	if (result < 0)
		return result;
	if (is_pod(target)) {
		result = judge(skb, r, &f, 0, target, false, &ok);
		if (result < 0)
			return result;
	} else if (has(CONFIG_HOST_FIREWALL) && target == CT_TARGET_HOST) {
		result = judge_host(skb, r, &f, false, &ok);
		if (result < 0)
			return result;
	}
	result = account(skb, r, &f, ok);
	if (result < 0)
		return result;
	count_forward(skb, r);
	if (is_pod(target)) {
		/* A flow that knew its way asked nobody who lives there. */
		if (unlikely(f.report && !r->peer_endpoint && has(CONFIG_TRACE_EVENTS))) {
			struct lxc_value *local = bpf_map_lookup_elem(&cilium_lxc, &r->packet.destination);

			r->peer_endpoint = local ? local->id : 0;
		}
		if (unlikely(f.entry && !f.origin && f.entry->service && !(r->packet.flags & PACKET_RELATED))) {
			result = service_restore(skb, r, f.entry->service);
			if (result < 0)
				return result;
		}
		return deliver_to_pod(skb, r, &f, target);
	}
	if (target == CT_TARGET_HOST) {
		if (unlikely(f.report && has(CONFIG_TRACE_EVENTS)))
			TRACE(skb, r, TRACE_TO_HOST);
		return DELIVER_TO_STACK;
	}
	return deliver_outside(skb, r, f.report);
}

SEC("tc")
int cil_from_container(struct __sk_buff *skb)
{
	struct run *r = run_start(DIR_EGRESS, FILE_BPF_LXC);
	int result;

	if (!r)
		return TC_ACT_SHOT;
	result = parse_packet(skb, &r->packet);
	if (result == PARSE_LINK)
		return TC_ACT_OK;
	if (unlikely(result == PARSE_OTHER))
		result = FAIL_AT(FILE_LIB_PARSE, DROP_UNSUPPORTED_L3);
	else if (likely(result == PARSE_OK))
		result = leave_pod(skb, r);
	if (likely(result >= 0))
		return result;
	if (has(CONFIG_DROP_EVENTS) && !r->ring_full && FAIL_FILE(result) != FILE_LIB_PARSE)
		name_ends(r);
	return drop(skb, r, result);
}

inline_fn int enter_pod(struct __sk_buff *skb, struct run *r)
{
	struct flow f;
	bool from_host = has(CONFIG_HOST_FIREWALL) && address_is_host(&r->packet.source);
	int result;

	if (!has(CONFIG_REDIRECT_PEER) && skb->mark == MARK_DELIVERED) {
		skb->mark = 0;
		return TC_ACT_OK;
	}
	result = admit(skb, r, &f, skb->ifindex, from_host);
	if (result < 0)
		return result;
	count_forward(skb, r);
	if (unlikely(f.report && has(CONFIG_TRACE_EVENTS)))
		TRACE(skb, r, TRACE_TO_ENDPOINT);
	return TC_ACT_OK;
}

SEC("tc")
int cil_to_container(struct __sk_buff *skb)
{
	struct run *r = run_start(DIR_INGRESS, FILE_BPF_LXC);
	int result;

	if (!r)
		return TC_ACT_SHOT;
	result = parse_packet(skb, &r->packet);
	if (result == PARSE_LINK)
		return TC_ACT_OK;
	if (unlikely(result == PARSE_OTHER))
		result = FAIL_AT(FILE_LIB_PARSE, DROP_UNSUPPORTED_L3);
	else if (likely(result == PARSE_OK))
		result = enter_pod(skb, r);
	if (likely(result >= 0))
		return result;
	if (has(CONFIG_DROP_EVENTS) && !r->ring_full && FAIL_FILE(result) != FILE_LIB_PARSE)
		name_ends(r);
	return drop(skb, r, result);
}

char _license[] SEC("license") = "Dual BSD/GPL";
