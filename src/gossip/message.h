/*
 * Messages between the supervising process and the gossip process, over the channel that `channel =
 * yes` gives the gossip service (SOCK_SEQPACKET, fd 3). One message a datagram, all of one size,
 * native byte order: both ends are the same executable. Each end validates what it receives with
 * gossip_message_valid() before it looks at anything else, and treats an invalid message as a fault
 * of the other: the gossip process exits, the supervising process ends it.
 *
 * Supervising process -> gossip process:
 *   SELF, then exactly node_count NODE (every index 0..node_count-1 once, one's own included): the
 *   gossip process speaks to nobody before the last of them. A new SELF (the configuration was
 *   loaded again) starts over; what is known of members whose name and address are unchanged stays.
 *   KNOWN, any number, between SELF and the last NODE: what an earlier process of this boot had
 *   told of a member; the one that replaces it goes on with that.
 *   READY and LEAVE, at any time. PING: answered by PROGRESS. QUERY: answered by one PEER for each
 *   index, then by a PROGRESS that has its serial.
 * Gossip process -> supervising process:
 *   MEMBER for every index after the last NODE (change NUMBERS; state UNKNOWN at first), then for
 *   every change, in order: those that matter to people have a sequence, 1 higher than the one
 *   before; a gap says that as many were left out, because nobody took them in time. Then LEFT once
 *   the siblings were told after LEAVE (GOSSIP_LEAVE_MS later at most): it may be stopped then.
 *   Nothing is said unasked while nothing changes.
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
#define GOSSIP_NODES_MAX  128 /* = CLUSTER_NODES_MAX */
#define GOSSIP_NAME_BYTES 32  /* = NAME_BYTES; NUL-padded */
#define GOSSIP_KEY_BYTES  32  /* = KEY_BYTES */
#define GOSSIP_KEYS_MAX	  2   /* = KEYS_MAX */

#define GOSSIP_TAGS_MAX 128 /* = MEMBERSHIP_TAGS_MAX */

#define GOSSIP_LEAVE_MS 1000

#define GOSSIP_MESSAGE_MAGIC 0x676f7332u /* "gos2": changes with the layout below */

enum gossip_message_type {
	GOSSIP_SELF = 1,
	GOSSIP_NODE = 2,
	GOSSIP_READY = 3,
	GOSSIP_LEAVE = 4,
	GOSSIP_PING = 5,
	GOSSIP_KNOWN = 6,
	GOSSIP_QUERY = 7,
	GOSSIP_MEMBER = 16,
	GOSSIP_PROGRESS = 17,
	GOSSIP_LEFT = 18,
	GOSSIP_PEER = 19,
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

/* What a MEMBER message tells; the numbers are those of enum member_change. */
enum gossip_change {
	GOSSIP_CHANGE_NUMBERS = 0, /* nothing that matters to people */
	GOSSIP_CHANGE_JOINED = 1,
	GOSSIP_CHANGE_ALIVE = 2, /* suspect no more */
	GOSSIP_CHANGE_SUSPECT = 3,
	GOSSIP_CHANGE_DEAD = 4,
	GOSSIP_CHANGE_LEFT = 5,
	GOSSIP_CHANGE_UPDATED = 6,  /* ready or not, services, tags */
	GOSSIP_CHANGE_CONFLICT = 7, /* its conflict is another, or over */
};

/* More than one machine has a member's key. */
enum gossip_conflict {
	GOSSIP_CONFLICT_NONE = 0,
	GOSSIP_CONFLICT_TWINS = 1,     /* two boots under one name: neither is believed */
	GOSSIP_CONFLICT_CLONES = 2,    /* one boot with two clocks: copied, or set back; likewise */
	GOSSIP_CONFLICT_ELSEWHERE = 3, /* one at `elsewhere`, too: that one is not believed */
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
	GOSSIP_DROP_KERNEL,   /* by the socket's filter, which lets pass what could be of a
				 sibling; or there was no room */
	GOSSIP_DROP_REASONS,
};

struct gossip_self {
	uint16_t index;
	uint16_t node_count;
	uint8_t tags_bytes;
	uint8_t reserved[3];
	uint64_t boot_id; /* random, new at each start of the supervising process, never 0; the same
			     for a restarted gossip process */
	char cluster[GOSSIP_NAME_BYTES];
	uint8_t secret_key[GOSSIP_KEY_BYTES];
	char tags[GOSSIP_TAGS_MAX]; /* our own; not NUL-terminated, unused bytes are 0 */
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

struct gossip_query {
	uint64_t serial; /* not 0 */
};

/* MEMBER and KNOWN. */
struct gossip_member {
	uint16_t index;
	uint8_t state; /* enum gossip_state */
	uint8_t ready; /* as the member said last; 0 unless ALIVE or SUSPECT */
	uint16_t services, services_ready, services_failed;
	uint8_t change;	      /* enum gossip_change */
	uint8_t conflict;     /* enum gossip_conflict */
	uint32_t generation;  /* how many lives its siblings remember */
	uint32_t incarnation; /* statements of that life */
	uint32_t elsewhere;   /* CONFLICT_ELSEWHERE: IPv4 address, network byte order */
	uint64_t boot_id;     /* 0: unknown */
	uint64_t sequence;    /* of the change; 0 with NUMBERS and CONFLICT */
	uint32_t tags_hash;
	uint8_t tags_bytes;
	uint8_t reserved[3];
	char tags[GOSSIP_TAGS_MAX]; /* as in SELF */
};

/* The way to one member, since the gossip process started. */
struct gossip_peer {
	uint16_t index;
	uint8_t version; /* of the protocol, the newest that it speaks; 0: unknown */
	uint8_t session; /* 1: its boot is proven */
	uint32_t rtt_us, rtt_min_us, rtt_last_us; /* smoothed, least, last; 0: not measured yet */
	uint32_t loss_permille;			  /* of its last packets */
	uint32_t reserved;
	uint64_t sent, received, missed; /* heartbeats */
	uint64_t heard_ms;		 /* last packet from it that answers us; 0: never */
};

struct gossip_progress {
	uint64_t serial;	    /* of the QUERY; 0: answers a PING */
	uint64_t ticks, late_ticks; /* 200 ms periods seen; those that came so late that others are
				       not judged by them */
	uint64_t packets_in, packets_out, bytes_in,
		bytes_out; /* UDP payload, in: accepted ones only */
	uint64_t changes;  /* told so far */
	uint64_t suspicions, objections;
	uint32_t health;  /* local health: 0 good, 8: timeouts are nine times as long */
	uint8_t locked;	  /* 1: its memory stays in memory */
	uint8_t realtime; /* 1: it runs before ordinary processes */
	uint8_t reserved[2];
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
		struct gossip_query query;
		struct gossip_peer peer;
		struct gossip_progress progress;
		uint8_t bytes[216]; /* unused ones are 0 */
	};
};

_Static_assert(sizeof(struct gossip_self) == 208, "no padding");
_Static_assert(sizeof(struct gossip_node) == 144, "no padding");
_Static_assert(sizeof(struct gossip_ready) == 8, "no padding");
_Static_assert(sizeof(struct gossip_query) == 8, "no padding");
_Static_assert(sizeof(struct gossip_member) == 176, "no padding");
_Static_assert(sizeof(struct gossip_peer) == 56, "no padding");
_Static_assert(sizeof(struct gossip_progress) == 176, "no padding");
_Static_assert(sizeof(struct gossip_message) == 224, "no padding");

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
/* "joined", …, "conflict"; "changed" for anything else. */
const char *gossip_change_name(unsigned change);
/* "twins", "clones", "elsewhere"; "" for none. */
const char *gossip_conflict_name(unsigned conflict);
/* "short", "magic", …: of GOSSIP_DROP_REASONS. */
const char *gossip_drop_name(unsigned reason);

#endif
