// SPDX-License-Identifier: Apache-2.0
// The ring buffer's reader: a thread copies records into chunks and hands each chunk to JavaScript.
//
// A chunk is at most 256 KiB. Each record in it: u32 length, u32 zero, `length` bytes, padding to a multiple of 8.
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "binding.h"

enum {
	CHUNK_SIZE = 256 * 1024,
	POLL_MS = 20,			// producers may write without waking anyone up
	CHUNKS_IN_FLIGHT = 64,		// beyond these the ring fills up and the producers count what is lost
	RECORD_HEAD = 8,
};

struct ring {
	napi_env env;
	napi_threadsafe_function deliver;
	pthread_t thread;
	int map_fd, epoll_fd, stop_fd;
	size_t page_size, ring_size;
	_Atomic unsigned long *consumer;
	_Atomic unsigned long *producer;
	uint8_t *data;
	void *consumer_page, *producer_pages;
	atomic_uint in_flight;
	atomic_ullong records, bytes, chunks, stalls;
};

struct chunk {
	struct ring *ring;
	void *memory;
	uint32_t length, records;
};

static const napi_type_tag ring_tag = { 0x63696c69756d7269ULL, 0x6e67726561646572ULL };

static size_t padded(size_t length)
{
	return (length + 7) & ~(size_t)7;
}

static void free_memory(napi_env env, void *data, void *hint)
{
	free(data);
}

// On the JavaScript thread. env is NULL while the environment goes away.
static void call_javascript(napi_env env, napi_value callback, void *context, void *data)
{
	struct chunk *chunk = data;
	napi_value arguments[2], ignored;

	atomic_fetch_sub(&chunk->ring->in_flight, 1);
	if (!env || napi_create_external_arraybuffer(env, chunk->memory, chunk->length, free_memory, NULL, &arguments[0]) !=
			    napi_ok) {
		free(chunk->memory);
	} else {
		arguments[1] = make_u32(env, chunk->records);
		napi_call_function(env, make_undefined(env), callback, 2, arguments, &ignored);
	}
	free(chunk);
}

struct span {
	unsigned long end;	// consumer position behind the last record looked at
	size_t size;		// bytes the chunk needs
	uint32_t records;
};

static uint32_t record_header(struct ring *ring, unsigned long position)
{
	_Atomic uint32_t *header = (_Atomic uint32_t *)(ring->data + (position & (ring->ring_size - 1)));

	return atomic_load_explicit(header, memory_order_acquire);
}

// How far complete records reach and how much room their copies take.
static struct span measure(struct ring *ring, unsigned long position, unsigned long limit)
{
	struct span span = { .end = position };

	while (span.end < limit) {
		uint32_t header = record_header(ring, span.end);
		size_t length = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		if (header & BPF_RINGBUF_BUSY_BIT)
			break;
		if (!(header & BPF_RINGBUF_DISCARD_BIT)) {
			size_t room = RECORD_HEAD + padded(length);
			if (span.records && span.size + room > CHUNK_SIZE)
				break;
			span.size += room;
			span.records++;
		}
		span.end += padded(length + BPF_RINGBUF_HDR_SZ);
	}
	return span;
}

static void copy_records(struct ring *ring, unsigned long position, const struct span *span, uint8_t *out)
{
	while (position < span->end) {
		uint32_t header = record_header(ring, position);
		uint32_t length = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		if (!(header & BPF_RINGBUF_DISCARD_BIT)) {
			uint32_t head[2] = { length, 0 };
			memcpy(out, head, sizeof(head));
			// The data area is mapped twice in a row, so a record never wraps.
			memcpy(out + RECORD_HEAD, ring->data + (position & (ring->ring_size - 1)) + BPF_RINGBUF_HDR_SZ, length);
			memset(out + RECORD_HEAD + length, 0, padded(length) - length);
			out += RECORD_HEAD + padded(length);
		}
		position += padded(length + BPF_RINGBUF_HDR_SZ);
	}
}

static bool hand_over(struct ring *ring, unsigned long position, const struct span *span)
{
	struct chunk *chunk = malloc(sizeof(*chunk));
	uint8_t *memory = malloc(span->size);

	if (!chunk || !memory) {
		free(chunk);
		free(memory);
		return false;
	}
	copy_records(ring, position, span, memory);
	*chunk = (struct chunk){ .ring = ring, .memory = memory, .length = (uint32_t)span->size, .records = span->records };
	atomic_fetch_add(&ring->in_flight, 1);
	if (napi_call_threadsafe_function(ring->deliver, chunk, napi_tsfn_nonblocking) != napi_ok) {
		atomic_fetch_sub(&ring->in_flight, 1);
		free(memory);
		free(chunk);
		return false;
	}
	atomic_fetch_add(&ring->records, span->records);
	atomic_fetch_add(&ring->bytes, span->size - (size_t)span->records * RECORD_HEAD);
	atomic_fetch_add(&ring->chunks, 1);
	return true;
}

static void drain(struct ring *ring)
{
	unsigned long position = atomic_load_explicit(ring->consumer, memory_order_relaxed);

	for (;;) {
		unsigned long limit = atomic_load_explicit(ring->producer, memory_order_acquire);
		struct span span;

		if (atomic_load(&ring->in_flight) >= CHUNKS_IN_FLIGHT) {
			atomic_fetch_add(&ring->stalls, 1);
			return;
		}
		span = measure(ring, position, limit);
		if (span.end == position)
			return;
		if (span.records && !hand_over(ring, position, &span))
			return;
		position = span.end;
		atomic_store_explicit(ring->consumer, position, memory_order_release);
	}
}

static void *ring_thread(void *data)
{
	struct ring *ring = data;
	bool stopping = false;

	while (!stopping) {
		struct epoll_event events[2];
		int count = epoll_wait(ring->epoll_fd, events, 2, POLL_MS);
		for (int i = 0; i < count; i++)
			stopping |= events[i].data.fd == ring->stop_fd;
		drain(ring);
		// A stalled ring stays readable: without this pause the thread would spin.
		if (atomic_load(&ring->in_flight) >= CHUNKS_IN_FLIGHT)
			usleep(2000);
	}
	return NULL;
}

static void ring_unmap(struct ring *ring)
{
	if (ring->consumer_page)
		munmap(ring->consumer_page, ring->page_size);
	if (ring->producer_pages)
		munmap(ring->producer_pages, ring->page_size + 2 * ring->ring_size);
	if (ring->epoll_fd >= 0)
		close(ring->epoll_fd);
	if (ring->stop_fd >= 0)
		close(ring->stop_fd);
	if (ring->map_fd >= 0)
		close(ring->map_fd);
	ring->consumer_page = ring->producer_pages = NULL;
	ring->epoll_fd = ring->stop_fd = ring->map_fd = -1;
}

// Joins the reading thread; only then are counters final and descriptors closed.
static void ring_halt(struct ring *ring)
{
	uint64_t one = 1;

	while (write(ring->stop_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(ring->thread, NULL);
	ring_unmap(ring);
}

// Last reference: no chunk of this ring is on its way any more.
static void deliver_finalize(napi_env env, void *data, void *hint)
{
	free(data);
}

static bool ring_map(struct ring *ring, int fd, struct failure *failure)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct bpf_map_info info = { 0 };
	uint32_t length = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &length) || info.type != BPF_MAP_TYPE_RINGBUF) {
		fail(failure, info.type ? EINVAL : errno, "open ring", "map fd %d is no ring buffer", fd);
		return false;
	}
	ring->page_size = (size_t)sysconf(_SC_PAGESIZE);
	ring->ring_size = info.max_entries;
	ring->map_fd = dup(fd);
	ring->consumer_page = mmap(NULL, ring->page_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ring->consumer_page == MAP_FAILED) {
		ring->consumer_page = NULL;
		fail(failure, errno, "mmap", "ring %s", info.name);
		return false;
	}
	ring->producer_pages = mmap(NULL, ring->page_size + 2 * ring->ring_size, PROT_READ, MAP_SHARED, fd,
				    (off_t)ring->page_size);
	if (ring->producer_pages == MAP_FAILED) {
		ring->producer_pages = NULL;
		fail(failure, errno, "mmap", "ring %s", info.name);
		return false;
	}
	ring->consumer = ring->consumer_page;
	ring->producer = ring->producer_pages;
	ring->data = (uint8_t *)ring->producer_pages + ring->page_size;
	ring->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	ring->stop_fd = eventfd(0, EFD_CLOEXEC);
	event.data.fd = ring->stop_fd;
	if (ring->map_fd < 0 || ring->epoll_fd < 0 || ring->stop_fd < 0 ||
	    epoll_ctl(ring->epoll_fd, EPOLL_CTL_ADD, ring->stop_fd, &event)) {
		fail(failure, errno, "epoll", "ring %s", info.name);
		return false;
	}
	/*
	 * Only a producer's wake-up counts, not that there are records: otherwise the thread runs after a busy producer record
	 * by record, and both wait for each other's cache lines.
	 */
	event.events = EPOLLIN | EPOLLET;
	event.data.fd = ring->map_fd;
	if (epoll_ctl(ring->epoll_fd, EPOLL_CTL_ADD, ring->map_fd, &event)) {
		fail(failure, errno, "epoll_ctl", "ring %s", info.name);
		return false;
	}
	return true;
}

static int start_thread(struct ring *ring)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&ring->thread, NULL, ring_thread, ring);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

struct handle {
	struct ring *ring;	// NULL once stopped
	unsigned long long records, bytes, chunks, stalls;
};

// Also the environment's cleanup hook: a worker that ends or a process that exits leaves no thread behind.
static void halt_handle(void *data)
{
	struct handle *handle = data;
	struct ring *ring = handle->ring;

	if (!ring)
		return;
	handle->ring = NULL;
	ring_halt(ring);
	handle->records = ring->records;
	handle->bytes = ring->bytes;
	handle->chunks = ring->chunks;
	handle->stalls = ring->stalls;
	napi_release_threadsafe_function(ring->deliver, napi_tsfn_release);
}

static void stop_handle(napi_env env, struct handle *handle)
{
	if (!handle->ring)
		return;
	napi_remove_env_cleanup_hook(env, halt_handle, handle);
	halt_handle(handle);
}

static void handle_finalize(napi_env env, void *data, void *hint)
{
	stop_handle(env, data);
	free(data);
}

// ringOpen(fd, (chunk: ArrayBuffer, records: number) => void) -> handle
static napi_value ring_open(napi_env env, napi_callback_info info)
{
	struct failure failure = { 0 };
	struct ring *ring = calloc(1, sizeof(*ring));
	struct handle *handle = calloc(1, sizeof(*handle));
	napi_value arguments[2], result;
	size_t count = 2;
	int32_t fd = -1;
	int error = 0;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	ring->env = env;
	ring->map_fd = ring->epoll_fd = ring->stop_fd = -1;
	napi_get_value_int32(env, arguments[0], &fd);
	if (!ring_map(ring, fd, &failure)) {
		throw_failure(env, &failure);
	} else if (napi_create_threadsafe_function(env, arguments[1], NULL, make_string(env, "ring"), 0, 1, ring,
						   deliver_finalize, NULL, call_javascript, &ring->deliver) != napi_ok) {
		napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "argument `onChunk`: expected a function");
	} else if ((error = start_thread(ring))) {
		fail(&failure, error, "pthread_create", "%s", "ring reader");
		throw_failure(env, &failure);
		ring_unmap(ring);
		free(handle);
		napi_release_threadsafe_function(ring->deliver, napi_tsfn_abort);
		return NULL;
	} else {
		handle->ring = ring;
		napi_unref_threadsafe_function(env, ring->deliver);
		napi_add_env_cleanup_hook(env, halt_handle, handle);
		napi_create_external(env, handle, handle_finalize, NULL, &result);
		napi_type_tag_object(env, result, &ring_tag);
		return result;
	}
	ring_unmap(ring);
	free(ring);
	free(handle);
	return NULL;
}

static struct handle *get_handle(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	bool tagged = false;
	size_t count = 1;
	void *data = NULL;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	napi_check_object_type_tag(env, arguments[0], &ring_tag, &tagged);
	if (!tagged || napi_get_value_external(env, arguments[0], &data) != napi_ok) {
		napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "argument `ring`: expected a handle of ringOpen");
		return NULL;
	}
	return data;
}

// ringStats(handle) -> {records, bytes, chunks, stalls, pending}
static napi_value ring_stats(napi_env env, napi_callback_info info)
{
	struct handle *handle = get_handle(env, info);
	unsigned long pending = 0;
	napi_value result;

	if (!handle)
		return NULL;
	if (handle->ring) {
		struct ring *ring = handle->ring;
		handle->records = ring->records;
		handle->bytes = ring->bytes;
		handle->chunks = ring->chunks;
		handle->stalls = ring->stalls;
		pending = atomic_load(ring->producer) - atomic_load(ring->consumer);
	}
	napi_create_object(env, &result);
	set_property(env, result, "records", make_double(env, (double)handle->records));
	set_property(env, result, "bytes", make_double(env, (double)handle->bytes));
	set_property(env, result, "chunks", make_double(env, (double)handle->chunks));
	set_property(env, result, "stalls", make_double(env, (double)handle->stalls));
	set_property(env, result, "pending", make_double(env, (double)pending));
	return result;
}

// ringStop(handle): drains once more and joins the thread; chunks on their way still arrive
static napi_value ring_stop(napi_env env, napi_callback_info info)
{
	struct handle *handle = get_handle(env, info);

	if (!handle)
		return NULL;
	stop_handle(env, handle);
	return make_undefined(env);
}

void register_ring(napi_env env, napi_value exports)
{
	register_function(env, exports, "ringOpen", ring_open);
	register_function(env, exports, "ringStats", ring_stats);
	register_function(env, exports, "ringStop", ring_stop);
}
