/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Programs of native devices: packets for local pods are short-cut into them, what leaves is masqueraded, and the node's own
 * traffic is judged where the host firewall is on.
 */
#include "lib/base.h"
#include "lib/deliver.h"
#include "lib/nat.h"

#define HOST_FAIL(reason) FAIL_AT(FILE_BPF_HOST, reason)

#define MASQUERADES (CONFIG_MASQUERADE_IPV4 | CONFIG_MASQUERADE_IPV6)

/* Without its neighbours a node reaches nobody who could mend its policy. */
inline_fn bool neighbour_discovery(const struct packet *p)
{
	return p->protocol == ICMPV6 && p->icmp_type >= 133 && p->icmp_type <= 137;
}

/* What the node itself sends or gets on this device: 0 or a failure. */
inline_fn int judge_own(struct __sk_buff *skb, struct run *r, bool leaving)
{
	struct flow f;
	__u32 ok = 0;
	int result;

	if (neighbour_discovery(&r->packet))
		return 0;
	if (unlikely(r->packet.flags & PACKET_ICMP_ERROR) && !(r->packet.flags & PACKET_RELATED))
		related_tuple(skb, &r->packet);
	ct_lookup(r, &f);
	result = judge_host(skb, r, &f, leaving, &ok);
	if (result < 0)
		return result;
	return account(skb, r, &f, ok);
}

inline_fn int arrive(struct __sk_buff *skb, struct run *r)
{
	struct lxc_value *local;
	struct flow f;
	int result;

	if (has(MASQUERADES) && address_is_node(&r->packet.destination)) {
		result = nat_ingress(skb, r);
		if (result < 0)
			return result;
	}
	local = bpf_map_lookup_elem(&cilium_lxc, &r->packet.destination);
	if (!local)
		return DELIVER_TO_STACK;
	if (local->flags & ENDPOINT_HOST) {
		result = has(CONFIG_HOST_FIREWALL) ? judge_own(skb, r, false) : 0;
		return result < 0 ? result : DELIVER_TO_STACK;
	}
	__u32 ifindex = local->ifindex;

	r->peer_endpoint = local->id;
	r->endpoint = local->id;
	result = admit(skb, r, &f, ifindex, false);
	if (result < 0)
		return result;
	count_forward(skb, r);
	return deliver_to_pod(skb, r, &f, ifindex);
}

/* What cannot be read may be the node's own business; only what is for a pod is ours to refuse. */
SEC("tc")
int cil_from_netdev(struct __sk_buff *skb)
{
	struct run *r = run_start(DIR_INGRESS, FILE_BPF_HOST);
	int result;

	if (!r)
		return TC_ACT_SHOT;
	result = parse_packet(skb, &r->packet);
	if (result != PARSE_OK)
		return TC_ACT_OK;
	result = arrive(skb, r);
	if (likely(result >= 0))
		return result;
	if (has(CONFIG_DROP_EVENTS))
		name_ends(r);
	return drop(skb, r, result);
}

inline_fn int depart(struct __sk_buff *skb, struct run *r)
{
	struct lxc_value *local;
	int result;

	if (has(CONFIG_HOST_FIREWALL) && address_is_host(&r->packet.source)) {
		result = judge_own(skb, r, true);
		return result < 0 ? result : TC_ACT_OK;
	}
	if (!has(MASQUERADES) || address_is_node(&r->packet.source))
		return TC_ACT_OK;
	local = bpf_map_lookup_elem(&cilium_lxc, &r->packet.source);
	if (!local || (local->flags & ENDPOINT_HOST) || !masquerade_wanted(&r->packet))
		return TC_ACT_OK;
	r->endpoint = local->id;
	result = nat_egress(skb, r);
	return result < 0 ? result : TC_ACT_OK;
}

SEC("tc")
int cil_to_netdev(struct __sk_buff *skb)
{
	struct run *r = run_start(DIR_EGRESS, FILE_BPF_HOST);
	int result;

	if (!has(MASQUERADES | CONFIG_HOST_FIREWALL))
		return TC_ACT_OK;
	if (!r)
		return TC_ACT_SHOT;
	result = parse_packet(skb, &r->packet);
	if (result != PARSE_OK)
		return TC_ACT_OK;
	result = depart(skb, r);
	if (likely(result >= 0))
		return result;
	if (has(CONFIG_DROP_EVENTS))
		name_ends(r);
	return drop(skb, r, result);
}

char _license[] SEC("license") = "Dual BSD/GPL";
