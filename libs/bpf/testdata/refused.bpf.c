/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Reads behind the packet: the verifier must refuse it and its log must reach the user. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int t_refused(struct __sk_buff *skb)
{
	unsigned char *data = (unsigned char *)(long)skb->data;

	return data[100];
}

char _license[] SEC("license") = "Dual BSD/GPL";
