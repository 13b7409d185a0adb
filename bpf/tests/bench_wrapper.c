/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Bench and packet tests: in front of the program under test, restores the packet from a template and gives each run
 * another flow number, so that one call of BPF_PROG_TEST_RUN can repeat a program that rewrites its packet.
 */
#include "../lib/base.h"

struct bench_template {
	__u8 bytes[128];
	__u32 length;
	__u32 flows;		/* flow number = run % flows */
	__u32 run;
	__u32 port_offset;	/* where the 16-bit flow number is added; 0 = nowhere */
	__u32 address_offset;	/* where the bits above 2^15 are added, last byte of an address; 0 = nowhere */
	__u32 first;		/* flow number of run 0 */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct bench_template);
	__uint(max_entries, 1);
} bench_template SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} bench_target SEC(".maps");

SEC("tc")
int bench_wrapper(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct bench_template *template = bpf_map_lookup_elem(&bench_template, &zero);
	void *data, *end;
	__u32 flow;

	if (!template)
		return TC_ACT_SHOT;
	flow = template->first + template->run;
	template->run++;
	if (template->run >= template->flows)
		template->run = 0;
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (data + 64 > end)
		return TC_ACT_SHOT;
	for (int i = 0; i < 8; i++)
		((__u64 *)data)[i] = ((__u64 *)template->bytes)[i];
	if (template->port_offset) {
		/* Ports 1024 and up; the bits above go into the address, so that no port wraps into another flow. */
		__u16 *port = data + (template->port_offset & 63);

		if ((void *)(port + 1) > end)
			return TC_ACT_SHOT;
		*port = bpf_htons(1024 + (flow & 0x7fff));
	}
	if (template->address_offset) {
		__u8 *byte = data + (template->address_offset & 63);

		if ((void *)(byte + 1) > end)
			return TC_ACT_SHOT;
		*byte += flow >> 15;
	}
	bpf_tail_call(skb, &bench_target, 0);
	return TC_ACT_SHOT;
}

SEC("tc")
int bench_floor(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
