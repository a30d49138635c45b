#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fabric.h"
#include "unix.h"

enum { PREFIX = 4, WRITE_FRAMES = 64 };

/* A frame with its length before it, as it travels; a flooded one waits in several queues. */
struct frame {
	unsigned references;
	uint32_t length; /* of bytes, with the prefix */
	uint8_t bytes[];
};

struct mac_entry {
	uint8_t mac[6];
	int16_t port; /* -1: free */
};

struct delayed {
	uint64_t due_ns;
	uint64_t serial; /* equal times leave in the order they came */
	struct frame *frame;
	uint16_t from, to;
};

int fabric_init(struct fabric *fabric, uint64_t seed)
{
	*fabric = (struct fabric){.random = seed | 1};
	fabric->ports = calloc(PORTS_MAX, sizeof *fabric->ports);
	fabric->macs = calloc(MAC_SLOTS, sizeof *fabric->macs);
	fabric->delayed = calloc(DELAYED_MAX, sizeof *fabric->delayed);
	if (!fabric->ports || !fabric->macs || !fabric->delayed)
		return -1;
	for (size_t i = 0; i < MAC_SLOTS; i++)
		fabric->macs[i].port = -1;
	return 0;
}

bool fabric_valid_name(const char *name)
{
	size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
	return length > 0 && length <= PORT_NAME_MAX && name[length] == '\0' && name[0] != '-';
}

int fabric_find(const struct fabric *fabric, const char *name, size_t name_length)
{
	for (size_t i = 0; i < fabric->links.ports; i++)
		if (strlen(fabric->ports[i].name) == name_length &&
		    memcmp(fabric->ports[i].name, name, name_length) == 0)
			return (int)i;
	return -1;
}

bool fabric_connected(const struct fabric *fabric, size_t port)
{
	return fabric->ports[port].output || fabric->ports[port].fd >= 0;
}

int fabric_add_port(struct fabric *fabric, const char *name, const char *path, port_output output,
		    void *opaque)
{
	size_t number = fabric->links.ports;
	if (number == PORTS_MAX) {
		errno = ENOSPC;
		return -1;
	}
	if (!fabric_valid_name(name)) {
		errno = EINVAL;
		return -1;
	}
	struct port *port = &fabric->ports[number];
	*port = (struct port){.listener = -1, .fd = -1, .output = output, .opaque = opaque};
	strcpy(port->name, name);
	if (path) {
		port->input = malloc(INPUT_BYTES);
		if (!port->input)
			return -1;
		port->listener = unix_listen(path);
		if (port->listener < 0) {
			free(port->input);
			return -1;
		}
	}
	fabric->links.ports++;
	return (int)number;
}

/* The address's entry, or the free one where it belongs; NULL if it is unknown and the table is
 * full. */
static struct mac_entry *mac_find(struct fabric *fabric, const uint8_t *mac)
{
	uint32_t hash = 2166136261u;
	for (int i = 0; i < 6; i++)
		hash = (hash ^ mac[i]) * 16777619u;
	for (uint32_t i = hash;; i++) {
		struct mac_entry *entry = &fabric->macs[i & (MAC_SLOTS - 1)];
		if (entry->port < 0)
			return fabric->macs_learnt < MAC_LEARNT_MAX ? entry : NULL;
		if (memcmp(entry->mac, mac, 6) == 0)
			return entry;
	}
}

static void mac_learn(struct fabric *fabric, const uint8_t *mac, size_t port)
{
	struct mac_entry *entry = mac_find(fabric, mac);
	if (!entry)
		return;
	if (entry->port < 0) {
		memcpy(entry->mac, mac, 6);
		fabric->macs_learnt++;
	}
	entry->port = (int16_t)port;
}

/* A port's addresses go with its machine: the table is built anew without them. */
static void mac_forget(struct fabric *fabric, size_t port)
{
	struct mac_entry kept[MAC_LEARNT_MAX];
	size_t count = 0;
	for (size_t i = 0; i < MAC_SLOTS; i++) {
		struct mac_entry *entry = &fabric->macs[i];
		if (entry->port >= 0 && (size_t)entry->port != port)
			kept[count++] = *entry;
		entry->port = -1;
	}
	fabric->macs_learnt = 0;
	for (size_t i = 0; i < count; i++)
		mac_learn(fabric, kept[i].mac, (size_t)kept[i].port);
}

static struct frame *frame_new(const uint8_t *bytes, size_t length)
{
	struct frame *frame = malloc(sizeof *frame + PREFIX + length);
	if (!frame)
		return NULL;
	frame->references = 1;
	frame->length = (uint32_t)(PREFIX + length);
	for (int i = 0; i < PREFIX; i++)
		frame->bytes[i] = (uint8_t)(length >> (8 * (PREFIX - 1 - i)));
	memcpy(frame->bytes + PREFIX, bytes, length);
	return frame;
}

static void frame_release(struct frame *frame)
{
	if (--frame->references == 0)
		free(frame);
}

static void enqueue(struct port *port, struct frame *frame)
{
	if (port->output) {
		port->stats.out_frames++;
		port->stats.out_bytes += frame->length - PREFIX;
		port->output(port->opaque, frame->bytes + PREFIX, frame->length - PREFIX);
		return;
	}
	if (port->fd < 0) {
		port->stats.dropped_absent++;
		return;
	}
	if (port->queue_count == QUEUE_FRAMES || port->queue_bytes + frame->length > QUEUE_BYTES) {
		port->stats.dropped_full++;
		return;
	}
	port->queue[(port->queue_head + port->queue_count++) % QUEUE_FRAMES] = frame;
	port->queue_bytes += frame->length;
	frame->references++;
}

static bool sooner(const struct delayed *a, const struct delayed *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->serial < b->serial;
}

static void delayed_push(struct fabric *fabric, struct delayed item)
{
	struct delayed *heap = fabric->delayed;
	if (fabric->delayed_count == DELAYED_MAX) {
		fabric->ports[item.to].stats.dropped_full++;
		return;
	}
	item.frame->references++;
	item.serial = fabric->delayed_serial++;
	size_t at = fabric->delayed_count++;
	for (; at > 0 && sooner(&item, &heap[(at - 1) / 2]); at = (at - 1) / 2)
		heap[at] = heap[(at - 1) / 2];
	heap[at] = item;
}

static struct delayed delayed_pop(struct fabric *fabric)
{
	struct delayed *heap = fabric->delayed;
	struct delayed top = heap[0], last = heap[--fabric->delayed_count];
	size_t at = 0;
	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= fabric->delayed_count)
			break;
		if (child + 1 < fabric->delayed_count && sooner(&heap[child + 1], &heap[child]))
			child++;
		if (!sooner(&heap[child], &last))
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = last;
	return top;
}

/* xorshift64: losses need no better randomness, but the same at each run with the same seed. */
static uint32_t random_below(struct fabric *fabric, uint32_t limit)
{
	fabric->random ^= fabric->random << 13;
	fabric->random ^= fabric->random >> 7;
	fabric->random ^= fabric->random << 17;
	return (uint32_t)((fabric->random >> 32) % limit);
}

static void cross_link(struct fabric *fabric, size_t from, size_t to, struct frame *frame,
		       uint64_t now_ns)
{
	const struct link *link = &fabric->links.from_to[from][to];
	struct port *port = &fabric->ports[to];
	if (link->cut) {
		port->stats.dropped_cut++;
	} else if (link->loss && random_below(fabric, LOSS_ALL) < link->loss) {
		port->stats.dropped_loss++;
	} else if (link->delay_ms) {
		delayed_push(fabric,
			     (struct delayed){.due_ns = now_ns + link->delay_ms * UINT64_C(1000000),
					      .frame = frame,
					      .from = (uint16_t)from,
					      .to = (uint16_t)to});
	} else {
		enqueue(port, frame);
	}
}

void fabric_input(struct fabric *fabric, size_t from, const uint8_t *bytes, size_t length,
		  uint64_t now_ns)
{
	struct port_stats *stats = &fabric->ports[from].stats;
	if (length < FRAME_MIN || length > FRAME_MAX) {
		stats->bad_frames++;
		return;
	}
	stats->in_frames++;
	stats->in_bytes += length;

	const uint8_t *destination = bytes, *source = bytes + 6;
	bool group = destination[0] & 1;
	if (!(source[0] & 1))
		mac_learn(fabric, source, from);
	struct frame *frame = frame_new(bytes, length);
	if (!frame)
		return; /* as a lost frame: whoever needs it sends it again */

	struct mac_entry *entry = group ? NULL : mac_find(fabric, destination);
	if (entry && entry->port >= 0) {
		if ((size_t)entry->port != from)
			cross_link(fabric, from, (size_t)entry->port, frame, now_ns);
	} else {
		for (size_t to = 0; to < fabric->links.ports; to++)
			if (to != from)
				cross_link(fabric, from, to, frame, now_ns);
	}
	frame_release(frame);
}

uint64_t fabric_run_delayed(struct fabric *fabric, uint64_t now_ns)
{
	while (fabric->delayed_count > 0 && fabric->delayed[0].due_ns <= now_ns) {
		struct delayed item = delayed_pop(fabric);
		/* A link that was cut meanwhile lets nothing through that was on its way. */
		if (fabric->links.from_to[item.from][item.to].cut)
			fabric->ports[item.to].stats.dropped_cut++;
		else
			enqueue(&fabric->ports[item.to], item.frame);
		frame_release(item.frame);
	}
	return fabric->delayed_count > 0 ? fabric->delayed[0].due_ns : UINT64_MAX;
}

static void disconnect(struct fabric *fabric, size_t number)
{
	struct port *port = &fabric->ports[number];
	if (port->fd < 0)
		return;
	close(port->fd);
	port->fd = -1;
	for (; port->queue_count > 0; port->queue_count--) {
		frame_release(port->queue[port->queue_head]);
		port->queue_head = (port->queue_head + 1) % QUEUE_FRAMES;
	}
	port->queue_bytes = port->head_sent = port->input_used = 0;
	mac_forget(fabric, number);
}

/* The newest connection wins: a machine that is started again may come before its predecessor's end
 * was noticed. */
static void accept_port(struct fabric *fabric, size_t number)
{
	struct port *port = &fabric->ports[number];
	int fd = accept4(port->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	disconnect(fabric, number);
	port->fd = fd;
	port->stats.connects++;
}

/* Takes the whole frames out of a port's input. A length that cannot be leaves no way to find the
 * next frame. */
static void take_frames(struct fabric *fabric, size_t number, uint64_t now_ns)
{
	struct port *port = &fabric->ports[number];
	size_t at = 0;
	while (port->input_used - at >= PREFIX) {
		const uint8_t *prefix = port->input + at;
		size_t length = (size_t)prefix[0] << 24 | (size_t)prefix[1] << 16 |
				(size_t)prefix[2] << 8 | prefix[3];
		if (length > FRAME_MAX) {
			fprintf(stderr,
				"switch: port %s: a frame of %zu bytes, the longest possible is "
				"%d: disconnected\n",
				port->name, length, FRAME_MAX);
			port->stats.bad_frames++;
			disconnect(fabric, number);
			return;
		}
		if (port->input_used - at - PREFIX < length)
			break;
		fabric_input(fabric, number, prefix + PREFIX, length, now_ns);
		at += PREFIX + length;
	}
	port->input_used -= at;
	memmove(port->input, port->input + at, port->input_used);
}

static void read_port(struct fabric *fabric, size_t number, uint64_t now_ns)
{
	struct port *port = &fabric->ports[number];
	ssize_t got =
		read(port->fd, port->input + port->input_used, INPUT_BYTES - port->input_used);
	if (got > 0) {
		port->input_used += (size_t)got;
		take_frames(fabric, number, now_ns);
	} else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
		disconnect(fabric, number);
	}
}

size_t fabric_poll_fill(struct fabric *fabric, struct pollfd *polls)
{
	for (size_t i = 0; i < fabric->links.ports; i++) {
		const struct port *port = &fabric->ports[i];
		polls[2 * i] = (struct pollfd){.fd = port->listener, .events = POLLIN};
		polls[2 * i + 1] = (struct pollfd){
			.fd = port->fd,
			.events = (short)(port->queue_count > 0 ? POLLIN | POLLOUT : POLLIN)};
	}
	return 2 * fabric->links.ports;
}

void fabric_poll_done(struct fabric *fabric, const struct pollfd *polls, uint64_t now_ns)
{
	for (size_t i = 0; i < fabric->links.ports; i++)
		if (polls[2 * i + 1].revents & (POLLIN | POLLHUP | POLLERR))
			read_port(fabric, i, now_ns);
	for (size_t i = 0; i < fabric->links.ports; i++)
		if (polls[2 * i].revents & POLLIN)
			accept_port(fabric, i);
}

/* Drops from the queue what was written. */
static void written(struct port *port, size_t bytes)
{
	bytes += port->head_sent;
	port->head_sent = 0;
	while (port->queue_count > 0) {
		struct frame *frame = port->queue[port->queue_head];
		if (bytes < frame->length) {
			port->head_sent = bytes;
			return;
		}
		bytes -= frame->length;
		port->stats.out_frames++;
		port->stats.out_bytes += frame->length - PREFIX;
		port->queue_bytes -= frame->length;
		port->queue_head = (port->queue_head + 1) % QUEUE_FRAMES;
		port->queue_count--;
		frame_release(frame);
	}
}

static void flush_port(struct fabric *fabric, size_t number)
{
	struct port *port = &fabric->ports[number];
	while (port->queue_count > 0) {
		struct iovec parts[WRITE_FRAMES];
		size_t count = 0, wanted = 0;
		for (; count < WRITE_FRAMES && count < port->queue_count; count++) {
			struct frame *frame =
				port->queue[(port->queue_head + count) % QUEUE_FRAMES];
			size_t skip = count == 0 ? port->head_sent : 0;
			parts[count] = (struct iovec){frame->bytes + skip, frame->length - skip};
			wanted += frame->length - skip;
		}
		struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
		ssize_t sent = sendmsg(port->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0) {
			if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
				disconnect(fabric, number);
			return;
		}
		written(port, (size_t)sent);
		if ((size_t)sent < wanted)
			return;
	}
}

void fabric_flush(struct fabric *fabric)
{
	for (size_t i = 0; i < fabric->links.ports; i++)
		if (fabric->ports[i].queue_count > 0)
			flush_port(fabric, i);
}
