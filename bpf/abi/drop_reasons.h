/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Why a packet was dropped. Numbers are an interface (Hubble's DropReason); values are never reused. */
#pragma once

enum drop_reason {
	DROP_NONE = 0,
	DROP_INVALID_SOURCE_MAC = 130,
	DROP_INVALID_SOURCE_IP = 132,
	DROP_POLICY_DENIED = 133,
	DROP_INVALID_PACKET = 134,
	DROP_CT_INVALID_HEADER = 135,
	DROP_FRAG_NEEDED = 136,
	DROP_CT_UNKNOWN_PROTOCOL = 137,
	DROP_UNSUPPORTED_L3 = 139,
	DROP_WRITE_ERROR = 141,
	DROP_UNKNOWN_L4 = 142,
	DROP_UNKNOWN_TARGET = 150,
	DROP_UNROUTABLE = 151,
	DROP_CSUM_L3 = 153,
	DROP_CSUM_L4 = 154,
	DROP_CT_INSERTION_FAILED = 155,
	DROP_INVALID_EXTENSION_HEADER = 156,
	DROP_FRAG_NOT_SUPPORTED = 157,
	DROP_NO_BACKEND = 158,
	DROP_NAT_NO_MAPPING = 167,
	DROP_NAT_UNSUPPORTED = 168,
	DROP_NO_FIB = 169,
	DROP_POLICY_DENY_LIST = 181,
	DROP_FRAG_NOT_FOUND = 175,
	DROP_PREFILTER = 240,			/* ours: source address on the prefilter list */
	DROP_POLICY_UNENFORCED = 241,		/* ours: allowed only under an L7 condition that is not enforced yet */
	DROP_NO_RULE_SET = 242,			/* ours: endpoint without a rule set: fails closed */
};
