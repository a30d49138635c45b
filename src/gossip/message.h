/*
 * Messages between the supervising process and the gossip process, over the channel that `channel =
 * yes` gives the gossip service (SOCK_SEQPACKET, fd 3). One message a datagram, all of one size,
 * native byte order: both ends are the same executable. Each end validates what it receives with
 * gossip_message_valid() before it looks at anything else, and treats an invalid message as a fault
 * of the other: the gossip process exits, the supervising process ends it.
 *
 * Order, supervising process -> gossip process:
 *   SELF, then exactly node_count NODE (every index 0..node_count-1 once, one's own included), then
 * READY and LEAVE at any time. The gossip process speaks to nobody before the last NODE. A new SELF
 * (the configuration was loaded again) starts over; members whose name, role, address and key are
 * unchanged keep what is known of them. Order, gossip process -> supervising process: MEMBER for
 * every index after the last NODE (state UNKNOWN at first) and whenever one of its fields other
 * than rtt_us and heard_ms changes, and for all every GOSSIP_REFRESH_MS; PROGRESS every
 * GOSSIP_PROGRESS_MS; LEFT once the siblings were told after LEAVE (GOSSIP_LEAVE_MS later at most):
 * it may be stopped then.
 *
 * Times are milliseconds of CLOCK_MONOTONIC of this machine. An index is the node's place in the
 * cluster file (struct cluster.node[]), valid on this machine only.
 */
#ifndef SUPERVISOR_GOSSIP_MESSAGE_H
#define SUPERVISOR_GOSSIP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GOSSIP_CHANNEL_FD 3
#define GOSSIP_NODES_MAX  64 /* = CLUSTER_NODES_MAX */
#define GOSSIP_NAME_BYTES 32 /* = NAME_BYTES; NUL-padded */
#define GOSSIP_KEY_BYTES  32 /* = KEY_BYTES */
#define GOSSIP_KEYS_MAX	  2  /* = KEYS_MAX */

#define GOSSIP_PROGRESS_MS 1000
#define GOSSIP_REFRESH_MS  5000
#define GOSSIP_LEAVE_MS	   1000

#define GOSSIP_MESSAGE_MAGIC 0x676f7331u /* "gos1": changes with the layout below */

enum gossip_message_type {
	GOSSIP_SELF = 1,
	GOSSIP_NODE = 2,
	GOSSIP_READY = 3,
	GOSSIP_LEAVE = 4,
	GOSSIP_MEMBER = 16,
	GOSSIP_PROGRESS = 17,
	GOSSIP_LEFT = 18,
};

/* Also the states of src/cluster/membership.h and of the wire: the numbers are part of the
 * protocol. */
enum gossip_state {
	GOSSIP_UNKNOWN = 0, /* never heard of since this process started */
	GOSSIP_ALIVE = 1,
	GOSSIP_SUSPECT =
		2, /* silent for a while; dead soon unless it, or another for it, objects */
	GOSSIP_DEAD = 3,
	GOSSIP_LEFT_STATE = 4, /* said itself that it goes */
};

/* Why a packet was not used; indices of gossip_progress.dropped[]. */
enum gossip_drop {
	GOSSIP_DROP_SHORT,    /* shorter or longer than any packet, or cut off */
	GOSSIP_DROP_MAGIC,    /* not a gossip packet, or of a version not understood */
	GOSSIP_DROP_SOURCE,   /* from an address that is no sibling's */
	GOSSIP_DROP_FLOOD,    /* its sender sent more than anyone needs; not looked at */
	GOSSIP_DROP_REPLAY,   /* seen before, or older than the window */
	GOSSIP_DROP_BOOT,     /* sealed for or by another boot than the present one */
	GOSSIP_DROP_SEAL,     /* forged, damaged, or sealed with another key */
	GOSSIP_DROP_CONTENT,  /* well sealed, but not well formed */
	GOSSIP_DROP_SEND,     /* could not be sent */
	GOSSIP_DROP_CONFLICT, /* from a name that two hold: neither is believed */
	GOSSIP_DROP_REASONS,
};

struct gossip_self {
	uint16_t index;
	uint16_t node_count;
	uint8_t reserved[4];
	uint64_t boot_id; /* random, new at each start of the supervising process, never 0; the same
			     for a restarted gossip process */
	char cluster[GOSSIP_NAME_BYTES];
	uint8_t secret_key[GOSSIP_KEY_BYTES];
};

struct gossip_node {
	uint16_t index;
	uint16_t port;	  /* host byte order */
	uint32_t address; /* IPv4, network byte order */
	char name[GOSSIP_NAME_BYTES];
	char role[GOSSIP_NAME_BYTES];
	uint8_t key[GOSSIP_KEYS_MAX][GOSSIP_KEY_BYTES]; /* public; unused ones are 0 */
	uint8_t key_count;				/* 0: nobody is believed to be it */
	uint8_t reserved[7];
};

/* How this node is doing; told to the siblings. */
struct gossip_ready {
	uint8_t ready; /* 1: everything of the profile is up */
	uint8_t reserved[1];
	uint16_t services; /* of the profile */
	uint16_t services_ready;
	uint16_t services_failed;
};

struct gossip_member {
	uint16_t index;
	uint8_t state; /* enum gossip_state */
	uint8_t ready; /* as the member said last; 0 unless ALIVE or SUSPECT */
	uint16_t services, services_ready, services_failed;
	uint8_t reserved[2];
	uint32_t generation;  /* how many lives its siblings remember */
	uint32_t incarnation; /* objections to being called suspect, within this life */
	uint32_t rtt_us;      /* smoothed round trip; 0: not measured yet, or oneself */
	uint64_t boot_id;     /* 0: unknown */
	uint64_t since_ms;    /* when it came into this state */
	uint64_t heard_ms;    /* last packet from it; 0: never */
};

struct gossip_progress {
	uint64_t ticks, late_ticks; /* 200 ms periods seen; those that came so late that others are
				       not judged by them */
	uint64_t packets_in, packets_out, bytes_in,
		bytes_out; /* UDP payload, in: accepted ones only */
	uint64_t dropped[GOSSIP_DROP_REASONS];
};

struct gossip_message {
	uint32_t magic;
	uint16_t type; /* enum gossip_message_type */
	uint8_t reserved[2];
	union {
		struct gossip_self self;
		struct gossip_node node;
		struct gossip_ready ready;
		struct gossip_member member;
		struct gossip_progress progress;
		uint8_t bytes[192]; /* unused ones are 0 */
	};
};

_Static_assert(sizeof(struct gossip_self) == 80, "no padding");
_Static_assert(sizeof(struct gossip_node) == 144, "no padding");
_Static_assert(sizeof(struct gossip_ready) == 8, "no padding");
_Static_assert(sizeof(struct gossip_member) == 48, "no padding");
_Static_assert(sizeof(struct gossip_progress) == 128, "no padding");
_Static_assert(sizeof(struct gossip_message) == 200, "no padding");

enum gossip_direction { GOSSIP_TO_PROCESS, GOSSIP_FROM_PROCESS };

/* Zeroes the message and fills in magic and type. */
void gossip_message_init(struct gossip_message *message, enum gossip_message_type type);

/*
 * True if `bytes` bytes at `data` (as received, any alignment) are one message that may travel in
 * `direction`, with all its fields in range. Indices are below GOSSIP_NODES_MAX; that they are
 * below node_count is the receiver's to check.
 */
bool gossip_message_valid(const void *data, size_t bytes, enum gossip_direction direction);

/* "alive", "suspect", …; "unknown" for anything else. */
const char *gossip_state_name(unsigned state);

#endif
