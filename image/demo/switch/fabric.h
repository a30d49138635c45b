/*
 * The switch proper: ports, the table of learnt addresses, frames on their way.
 *
 * A port is a Unix stream socket on which QEMU's `-netdev stream` sends and takes Ethernet frames,
 * each behind its length in four bytes, most significant first (QEMU, net/stream.c and net/net.c).
 * A port without a path has a callback instead (the host's own port). Nothing here ever waits for a
 * port: what does not fit its queue is dropped and counted, as a real switch does.
 *
 * Times are CLOCK_MONOTONIC in nanoseconds.
 */
#ifndef DEMO_SWITCH_FABRIC_H
#define DEMO_SWITCH_FABRIC_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link.h"

enum {
	PORT_NAME_MAX = 32,  /* bytes, without the terminating 0 */
	FRAME_MIN = 14,	     /* an Ethernet header */
	FRAME_MAX = 65550,   /* header and the largest IP packet; anything longer is not a frame */
	QUEUE_FRAMES = 1024, /* waiting for one port */
	QUEUE_BYTES = 4 << 20,	 /* likewise */
	DELAYED_MAX = 16384,	 /* frames held back by a slow link, all ports together */
	INPUT_BYTES = 256 << 10, /* read from one port at once */
	MAC_SLOTS = 4096,	 /* size of the table of learnt addresses; power of two */
	MAC_LEARNT_MAX = 2048,	 /* of them used; further addresses are flooded */
};

struct port_stats {
	uint64_t in_frames, in_bytes, out_frames, out_bytes;
	uint64_t dropped_cut, dropped_loss, dropped_full, dropped_absent;
	uint64_t bad_frames; /* too short or too long */
	uint64_t connects;
};

struct frame;
struct fabric;

typedef void (*port_output)(void *opaque, const uint8_t *bytes, size_t length);

struct port {
	char name[PORT_NAME_MAX + 1];
	int listener; /* -1: a callback's port */
	int fd;	      /* -1: nobody connected */
	port_output output;
	void *opaque;
	uint8_t *input;
	size_t input_used;
	struct frame *queue[QUEUE_FRAMES];
	size_t queue_head, queue_count, queue_bytes;
	size_t head_sent; /* bytes of the first queued frame that are already out */
	struct port_stats stats;
};

struct fabric {
	struct port *ports;
	struct links links; /* links.ports is the number of ports */
	struct mac_entry *macs;
	size_t macs_learnt;
	struct delayed *delayed; /* a heap, the frame due first on top */
	size_t delayed_count;
	uint64_t delayed_serial;
	uint64_t random;
};

/* `seed` makes losses repeatable. Returns -1 with errno when memory is short. */
int fabric_init(struct fabric *fabric, uint64_t seed);
/* Adds a port that listens at `path`, or with path NULL one whose frames go to `output`. Its
 * number, or -1 with errno. */
int fabric_add_port(struct fabric *fabric, const char *name, const char *path, port_output output,
		    void *opaque);
/* The number of the port of that name, or -1. */
int fabric_find(const struct fabric *fabric, const char *name, size_t name_length);
bool fabric_valid_name(const char *name);
bool fabric_connected(const struct fabric *fabric, size_t port);

/* A frame has come in at a port. Copies it. */
void fabric_input(struct fabric *fabric, size_t port, const uint8_t *bytes, size_t length,
		  uint64_t now_ns);
/* Hands on the delayed frames that are due. Returns when the next is, or UINT64_MAX. */
uint64_t fabric_run_delayed(struct fabric *fabric, uint64_t now_ns);

/* Fills two entries a port (listener, connection); returns their number. After poll(2), handles
 * what they say. */
size_t fabric_poll_fill(struct fabric *fabric, struct pollfd *polls);
void fabric_poll_done(struct fabric *fabric, const struct pollfd *polls, uint64_t now_ns);
/* Writes what is queued, as far as the ports take it. */
void fabric_flush(struct fabric *fabric);

#endif
