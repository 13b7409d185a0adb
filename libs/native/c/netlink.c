// SPDX-License-Identifier: Apache-2.0
// One netlink exchange: requests in, all their answers out. Messages are built and read in TypeScript.
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "binding.h"

enum {
	GROUP_BYTES = 32 * 1024,	// sent at once; acknowledgements of a group fit the receive buffer
	RECEIVE_BYTES = 256 * 1024,
	RECEIVE_BUFFER = 8 * 1024 * 1024,
};

// netlinkExchange({messages, protocol?, timeoutMs?, netns?}) -> all answers.
// Every message carries NLM_F_ACK or NLM_F_DUMP and a sequence number of its own.
struct exchange_op {
	struct op op;
	struct bytes messages;
	uint32_t protocol, timeout;
	uint8_t *reply;
	size_t length, room;
	int fd;
};

static bool exchange_parse(napi_env env, napi_value arguments, struct op *base)
{
	struct exchange_op *op = (struct exchange_op *)base;

	op->timeout = 10000;
	return op_bytes(env, base, arguments, "messages", &op->messages) &&
	       get_optional_u32(env, arguments, "protocol", &op->protocol) &&
	       get_optional_u32(env, arguments, "timeoutMs", &op->timeout);
}

static bool open_socket(struct exchange_op *op)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	struct timeval timeout = { op->timeout / 1000, (op->timeout % 1000) * 1000 };
	int one = 1, room = RECEIVE_BUFFER;

	op->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, (int)op->protocol);
	if (op->fd < 0 || bind(op->fd, (struct sockaddr *)&address, sizeof(address))) {
		fail(&op->op.failure, errno, "socket", "netlink protocol %u", op->protocol);
		return false;
	}
	setsockopt(op->fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	setsockopt(op->fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	setsockopt(op->fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof(one));
	setsockopt(op->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	setsockopt(op->fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	setsockopt(op->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	return true;
}

static bool make_room(struct exchange_op *op)
{
	uint8_t *grown;

	if (op->room - op->length >= RECEIVE_BYTES)
		return true;
	op->room = op->room * 2 + 2 * RECEIVE_BYTES;
	grown = realloc(op->reply, op->room);
	if (!grown) {
		fail(&op->op.failure, ENOMEM, "netlink", "%s", "");
		return false;
	}
	op->reply = grown;
	return true;
}

// Counts the requests that a datagram finishes.
static size_t finished(const uint8_t *data, size_t length)
{
	size_t count = 0;

	for (size_t at = 0; at + sizeof(struct nlmsghdr) <= length;) {
		const struct nlmsghdr *header = (const struct nlmsghdr *)(data + at);
		if (header->nlmsg_len < sizeof(*header))
			break;
		if (header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE)
			count++;
		at += NLMSG_ALIGN(header->nlmsg_len);
	}
	return count;
}

static bool exchange_group(struct exchange_op *op, const uint8_t *data, size_t length, size_t expected)
{
	size_t count = 0;

	if (send(op->fd, data, length, 0) < 0) {
		fail(&op->op.failure, errno, "send", "netlink, %zu messages", expected);
		return false;
	}
	while (count < expected) {
		ssize_t received;
		if (!make_room(op))
			return false;
		received = recv(op->fd, op->reply + op->length, RECEIVE_BYTES, 0);
		if (received < 0 && errno == EINTR)
			continue;
		if (received < 0) {
			fail(&op->op.failure, errno == EAGAIN ? ETIMEDOUT : errno, "recv", "netlink, %zu of %zu answered",
			     count, expected);
			return false;
		}
		count += finished(op->reply + op->length, (size_t)received);
		op->length += NLMSG_ALIGN((size_t)received);
	}
	return true;
}

// A dump occupies the socket, so it ends its group.
static void exchange_execute(struct op *base)
{
	struct exchange_op *op = (struct exchange_op *)base;
	size_t at = 0;

	op->fd = -1;
	if (!open_socket(op))
		goto out;
	while (at + sizeof(struct nlmsghdr) <= op->messages.length) {
		size_t start = at, count = 0;
		bool dump = false;
		while (!dump && at + sizeof(struct nlmsghdr) <= op->messages.length) {
			const struct nlmsghdr *header = (const struct nlmsghdr *)(op->messages.data + at);
			size_t next = at + NLMSG_ALIGN(header->nlmsg_len);
			dump = (header->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
			if (header->nlmsg_len < sizeof(*header) || next > op->messages.length) {
				fail(&base->failure, EINVAL, "netlink", "message at byte %zu is cut short", at);
				goto out;
			}
			if (count && (dump || next - start > GROUP_BYTES)) {
				dump = false;
				break;
			}
			count++;
			at = next;
		}
		if (!exchange_group(op, op->messages.data + start, at - start, count))
			goto out;
	}
out:
	if (op->fd >= 0)
		close(op->fd);
}

static napi_value exchange_complete(napi_env env, struct op *base)
{
	struct exchange_op *op = (struct exchange_op *)base;
	napi_value result = make_bytes(env, op->reply, op->length);

	return result;
}

static void exchange_destroy(struct op *base)
{
	free(((struct exchange_op *)base)->reply);
}

void register_netlink(napi_env env, napi_value exports)
{
	static const struct op_kind kind = {
		"netlinkExchange", sizeof(struct exchange_op), exchange_parse, exchange_execute, exchange_complete,
		exchange_destroy, true,
	};

	register_op(env, exports, &kind);
}
