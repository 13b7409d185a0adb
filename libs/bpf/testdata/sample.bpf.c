/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the kernel tests load: one map of each kind, a ring writer, counters on traffic, XDP and cgroup hooks. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct config {
	__u32 flags;
	__u32 layout_hash;
	__u32 verdict;
};
const volatile struct config config = { .layout_hash = 0x1234abcd };

struct event {
	__u16 cpu;
	__u16 pad;
	__u32 sequence;
	__u64 value;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} t_hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} t_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} t_runtime SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} t_sequence SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} t_ring SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, 8);
	__uint(value_size, 4);
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__array(values, struct inner);
} t_outer SEC(".maps");

static __always_inline void count(__u32 slot)
{
	__u64 *value = bpf_map_lookup_elem(&t_counters, &slot);

	if (value)
		*value += 1;
}

/* Writes one event per run; a full ring shows as a gap in the sequence. */
SEC("tc")
int t_emit(struct __sk_buff *skb)
{
	__u32 zero = 0;
	__u32 *sequence = bpf_map_lookup_elem(&t_sequence, &zero);
	struct event *event;

	if (!sequence)
		return 1;
	*sequence += 1;
	event = bpf_ringbuf_reserve(&t_ring, sizeof(*event), 0);
	if (!event)
		return 1;
	event->cpu = bpf_get_smp_processor_id();
	event->pad = 0;
	event->sequence = *sequence;
	event->value = *sequence * 3ULL;
	/* Without force a reader that is behind is never woken: it is expected to look again by itself. */
	bpf_ringbuf_submit(event, bpf_ringbuf_query(&t_ring, BPF_RB_AVAIL_DATA) < 65536 ? BPF_RB_NO_WAKEUP :
										    BPF_RB_FORCE_WAKEUP);
	return 0;
}

SEC("tc")
int t_count_a(struct __sk_buff *skb)
{
	count(0);
	return 0;
}

SEC("tc")
int t_count_b(struct __sk_buff *skb)
{
	count(1);
	return 0;
}

SEC("tc")
int t_verdict(struct __sk_buff *skb)
{
	return config.verdict;
}

/* Looks an entry up through the map of maps: 0 = no inner map, 1 = no entry, else the entry. */
SEC("tc")
int t_lookup(struct __sk_buff *skb)
{
	struct { __u32 prefixlen; __u32 value; } key = { 32, 7 };
	__u32 outer = skb->mark;
	void *inner = bpf_map_lookup_elem(&t_outer, &outer);
	__u32 *found;

	if (!inner)
		return 0;
	found = bpf_map_lookup_elem(inner, &key);
	return found ? *found : 1;
}

SEC("tc")
int t_read_runtime(struct __sk_buff *skb)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&t_runtime, &zero);

	return value ? (int)*value : -1;
}

SEC("xdp")
int t_xdp(struct xdp_md *ctx)
{
	count(0);
	return XDP_PASS;
}

SEC("cgroup/connect4")
int t_connect4(struct bpf_sock_addr *ctx)
{
	count(0);
	return ctx->user_port != __builtin_bswap16(9);
}

char _license[] SEC("license") = "Dual BSD/GPL";
