/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* May this endpoint talk to that identity? And the record of who said so. */
#pragma once
#include "conntrack.h"
#include "identity.h"
#include "../maps/policy.h"

#define POLICY_FAIL(reason) FAIL_AT(FILE_LIB_POLICY, reason)

inline_fn bool policy_beats(const struct policy_entry *wild, const struct policy_entry *exact)
{
	if (wild->precedence != exact->precedence)
		return wild->precedence > exact->precedence;
	return wild->prefix_bits > exact->prefix_bits;
}

inline_fn __u8 policy_match_type(const struct policy_entry *entry, bool exact)
{
	if (entry->prefix_bits == 0)
		return exact ? MATCH_L3_ONLY : MATCH_ALL;
	if (entry->prefix_bits == 8)
		return exact ? MATCH_L3_PROTO : MATCH_PROTO_ONLY;
	return exact ? MATCH_L3_L4 : MATCH_L4_ONLY;
}

/*
 * The last decisions of this CPU, direct-mapped: many flows ask the same (client and port of a service, a retried
 * connection), and a trie walk per flow costs more than the rest of the path. An entry holds for one policy epoch: whoever
 * writes policy, identities or addresses raises it afterwards, as for open connections.
 */
struct decision {
	struct ip_addr remote;
	rule_set_id_t rule_set;
	be16_t port;
	__u8 protocol;
	__u8 side;
	__u32 epoch;
	identity_t identity;
	origin_id_t origin;
	int code;			/* 0 or the failure */
	__u8 match_type;
	__u8 audited;
	__u8 pad[6];
} __attribute__((aligned(8)));

#define DECISIONS 512

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct decision);
	__uint(max_entries, DECISIONS);
} cilium_decisions SEC(".maps");

/* 0 or a failure; r->origin and match_type say who decided. */
subprogram int policy_lookup(struct run *r, identity_t remote, __u32 side, struct decision *decision)
{
	struct policy_key key = {
		.prefixlen = POLICY_PREFIX_PORT,
		.identity = remote,
		.direction = side,
		.protocol = r->packet.protocol,
		.port = r->policy_port,
	};
	struct policy_entry *exact, *wild, *entry;
	void *inner = bpf_map_lookup_elem(&cilium_policy, &r->rule_set);

	r->origin = 0;
	r->match_type = MATCH_NONE;
	decision->audited = 0;
	if (!inner)
		return POLICY_FAIL(DROP_NO_RULE_SET);
	exact = bpf_map_lookup_elem(inner, &key);
	key.identity = 0;
	wild = bpf_map_lookup_elem(inner, &key);
	entry = exact;
	if (wild && (!exact || policy_beats(wild, exact)))
		entry = wild;
	if (!entry) {
		/* The default deny leaves the node's probes alone; a deny that somebody wrote has an entry. */
		if (!has(CONFIG_ALLOW_HOST) || side != DIR_INGRESS || remote != IDENTITY_HOST)
			return POLICY_FAIL(DROP_POLICY_DENIED);
		r->match_type = MATCH_L3_ONLY;
		return 0;
	}
	r->origin = entry->origin;
	r->match_type = policy_match_type(entry, entry == exact);
	decision->audited = entry->flags & POLICY_AUDIT;
	if (entry->flags & POLICY_DENY)
		return entry->origin ? POLICY_FAIL(DROP_POLICY_DENY_LIST) : POLICY_FAIL(DROP_POLICY_DENIED);
	if (entry->flags & POLICY_UNENFORCED)
		return POLICY_FAIL(DROP_POLICY_UNENFORCED);
	return 0;
}

/* The port that policy speaks of: the one the opener asked for; for ICMP the type. */
inline_fn be16_t policy_port(const struct packet *p, bool origin)
{
	if (p->protocol == IPPROTO_ICMP || p->protocol == ICMPV6) {
		if (!origin || (p->flags & PACKET_RELATED))
			return p->protocol == ICMPV6 ? bpf_htons(128) : bpf_htons(8);
		return bpf_htons(p->icmp_type);
	}
	return origin ? p->destination_port : p->source_port;
}

inline_fn __u32 decision_slot(const struct run *r, const struct ip_addr *remote)
{
	__u32 hash = remote->words[3] ^ remote->words[2] ^ (remote->words[1] << 3) ^ r->policy_port ^ (r->rule_set << 7);

	return (hash * 0x9e3779b1u) >> 23;	/* 9 bits: DECISIONS */
}

/* Who is `remote`, and may it? Fills r's identity of the remote end too. 0 or a failure, and in *audited its flag. */
inline_fn int decide(struct run *r, const struct ip_addr *remote, __u8 side, identity_t *identity, bool *audited)
{
	__u32 slot = decision_slot(r, remote);
	struct decision *d = bpf_map_lookup_elem(&cilium_decisions, &slot);

	if (!d)
		return POLICY_FAIL(DROP_NO_RULE_SET);
	if (r->rule_set && d->epoch == r->epoch && d->rule_set == r->rule_set && d->port == r->policy_port &&
	    d->protocol == r->packet.protocol && d->side == side && address_equal(&d->remote, remote)) {
		r->origin = d->origin;
		r->match_type = d->match_type;
	} else {
		d->rule_set = 0;
		d->identity = resolve_identity(remote);
		d->code = policy_lookup(r, d->identity, side, d);
		address_copy(&d->remote, remote);
		d->port = r->policy_port;
		d->protocol = r->packet.protocol;
		d->side = side;
		d->epoch = r->epoch;
		d->origin = r->origin;
		d->match_type = r->match_type;
		d->rule_set = r->rule_set;
	}
	*identity = d->identity;
	*audited = d->audited;
	return d->code;
}

enum judge_flags {
	JUDGE_LEAVING = 1,	/* the packet leaves the endpoint; otherwise it enters it */
	JUDGE_ORIGIN = 2,	/* it goes the opener's way */
};

inline_fn __u8 judge_side(bool leaving, bool origin)
{
	return leaving == origin ? DIR_EGRESS : DIR_INGRESS;
}

/*
 * Asks the policy of `endpoint` about the flow, whichever way this packet goes: a reply is judged
 * by the rule that let the flow in. Emits the verdict. 0 or a failure.
 */
subprogram int judge_slow(struct __sk_buff *skb, struct run *r, struct endpoint_value *endpoint, __u32 flags)
{
	bool leaving = flags & JUDGE_LEAVING, origin = flags & JUDGE_ORIGIN, audited = false;
	__u8 side = judge_side(leaving, origin), verdict = VERDICT_ALLOWED;
	int code;

	if (!endpoint)
		return POLICY_FAIL(DROP_NO_RULE_SET);
	r->direction = leaving ? DIR_EGRESS : DIR_INGRESS;
	r->endpoint = endpoint->id;
	r->rule_set = endpoint->rule_set;
	r->policy_port = policy_port(&r->packet, origin);
	if (leaving) {
		r->source_identity = endpoint->identity;
		code = decide(r, &r->packet.destination, side, &r->destination_identity, &audited);
	} else {
		r->destination_identity = endpoint->identity;
		code = decide(r, &r->packet.source, side, &r->source_identity, &audited);
	}
	if (code < 0) {
		verdict = VERDICT_DENIED;
		if (audited || r->audit || (endpoint->flags & ENDPOINT_AUDIT)) {
			verdict = VERDICT_AUDITED;
			code = 0;
		}
	}
	if (has(CONFIG_VERDICT_EVENTS) && (r->ct_state == CT_NEW || verdict != VERDICT_ALLOWED))
		emit_event(skb, r, EVENT_KIND(EVENT_POLICY_VERDICT, verdict), FILE_LIB_POLICY << 16 | __LINE__);
	return code;
}

/*
 * The usual case costs one comparison: allowed before, and nothing has changed since. `endpoint` may be 0: then it is the
 * one behind `ifindex`, looked up only if asked.
 */
inline_fn int judge(struct __sk_buff *skb, struct run *r, struct flow *f, struct endpoint_value *endpoint, __u32 ifindex,
		    bool leaving, __u32 *ok)
{
	__u8 side = judge_side(leaving, f->origin);
	__u16 bit = side == DIR_EGRESS ? CT_EGRESS_OK : CT_INGRESS_OK;
	int code;

	if (likely(f->entry)) {
		__u32 epoch = side == DIR_EGRESS ? f->entry->epoch_egress : f->entry->epoch_ingress;

		if (likely((f->entry->flags & bit) && epoch == r->epoch && !is_pure_syn(&r->packet)))
			return 0;
	}
	if (!endpoint)
		endpoint = bpf_map_lookup_elem(&cilium_endpoints, &ifindex);
	code = judge_slow(skb, r, endpoint, (leaving ? JUDGE_LEAVING : 0) | (f->origin ? JUDGE_ORIGIN : 0));
	if (f->entry) {
		/* An epoch that never comes makes a lost flag write harmless: the next packet asks again. */
		__u32 epoch = code < 0 ? r->epoch - 1 : r->epoch;

		if (side == DIR_EGRESS)
			f->entry->epoch_egress = epoch;
		else
			f->entry->epoch_ingress = epoch;
		f->entry->source_identity = f->origin ? r->source_identity : r->destination_identity;
		f->entry->destination_identity = f->origin ? r->destination_identity : r->source_identity;
		if (code < 0)
			f->entry->flags &= ~bit;
		else
			f->entry->flags |= bit;
	}
	if (code >= 0)
		*ok |= bit;
	return code;
}

/*
 * The node's own policy. Until the agent has given the node its first rule set nothing of it is judged: a node that
 * cannot reach the API server would never get one. From then on the row stays, whatever becomes of the agent.
 */
inline_fn int judge_host(struct __sk_buff *skb, struct run *r, struct flow *f, bool leaving, __u32 *ok)
{
	__u32 host = 0;
	struct endpoint_value *endpoint = bpf_map_lookup_elem(&cilium_endpoints, &host);

	return endpoint ? judge(skb, r, f, endpoint, host, leaving, ok) : 0;
}
