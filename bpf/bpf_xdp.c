/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* First look at what a native device receives: the prefilter, and counters. */
#include "lib/base.h"
#include "lib/address.h"
#include "maps/xdp.h"

inline_fn bool source_address(struct xdp_md *ctx, struct ip_addr *source)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;

	if ((void *)(ethernet + 1) > end)
		return false;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETH_HEADER;

		if ((void *)(ip + 1) > end)
			return false;
		address_from_ipv4(source, ip->saddr);
		return true;
	}
	if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + ETH_HEADER;

		if ((void *)(ip + 1) > end)
			return false;
		__builtin_memcpy(source, &ip->saddr, 16);
		return true;
	}
	return false;
}

inline_fn bool prefiltered(struct xdp_md *ctx)
{
	struct ip_addr source __attribute__((aligned(8)));
	struct cidr_deny_key key = { .prefixlen = 128 };
	struct cidr_deny_value *denied;

	if (!source_address(ctx, &source))
		return false;
	__builtin_memcpy(&key.addr, &source, 16);
	denied = bpf_map_lookup_elem(&cilium_cidr_deny, &key);
	if (!denied)
		return false;
	__sync_fetch_and_add(&denied->packets, 1);
	return true;
}

inline_fn int count(struct xdp_md *ctx, __u32 verdict, int action)
{
	struct metrics_value *value = bpf_map_lookup_elem(&cilium_xdp_metrics, &verdict);

	if (value) {
		value->packets++;
		value->bytes += ctx->data_end - ctx->data;
	}
	return action;
}

SEC("xdp.frags")
int cil_xdp_entry(struct xdp_md *ctx)
{
	if (has(CONFIG_PREFILTER) && prefiltered(ctx))
		return count(ctx, XDP_VERDICT_DROP, XDP_DROP);
	return count(ctx, XDP_VERDICT_PASS, XDP_PASS);
}

char _license[] SEC("license") = "Dual BSD/GPL";
