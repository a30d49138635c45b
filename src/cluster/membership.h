/*
 * Who is there: SWIM with parts of Lifeguard, as a pure state machine (docs/GOSSIP.md tells why
 * each rule is as it is).
 *
 * membership_step(state, event, now) -> actions. No clock, no socket, no allocation, no random
 * source in here: the caller passes them in, so that the gossip process, the unit tests and the
 * simulator (tests/sim) run the very same code.
 *
 * A member is named by its index in the caller's table; the wire's names and keys are the caller's
 * business. Nodes should number their members alike (the order of the cluster file): where they do
 * not, the digests differ and records travel for nothing, but nothing breaks. Times are
 * milliseconds of one monotonic clock, never 0, and never go back. All memory belongs to the
 * caller; work and bytes a tick and a packet do not depend on the number of members (beyond
 * MEMBERSHIP_MESH_MAX).
 *
 * References: Das, Gupta, Motivala, "SWIM", DSN 2002; Dadgar, Phillips, Currey, "Lifeguard", DSN-W
 * 2018.
 */
#ifndef SUPERVISOR_CLUSTER_MEMBERSHIP_H
#define SUPERVISOR_CLUSTER_MEMBERSHIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Versions of the protocol. 1: everything known is told once a second. 2: digests, and what
 * differs; tags; nack; everybody's agreement to a suspicion travels with it. Each member is spoken
 * to in the newest that both know.
 */
#define MEMBERSHIP_VERSION     2
#define MEMBERSHIP_VERSION_MIN 1

#define MEMBERSHIP_NONE 0xffffu /* no member, no segment */
#define MEMBERSHIP_AGE_NEVER \
	0xffffu /* membership_record.heard_age_ms: not heard, or longer ago than can be told */
#define MEMBERSHIP_RECORDS_MAX 32  /* in one heartbeat */
#define MEMBERSHIP_ASKS_MAX    4   /* questions in one heartbeat, and answers that say no */
#define MEMBERSHIP_DIGESTS_MAX 2   /* in one heartbeat */
#define MEMBERSHIP_SEGMENT     16  /* members that one digest is about */
#define MEMBERSHIP_TAGS_MAX    128 /* bytes of one member's tags */
#define MEMBERSHIP_HELPERS     3   /* SWIM's k: how many are asked about one silent member */
#define MEMBERSHIP_MESH_MAX    9 /* up to that many members everyone probes everyone every tick … */
#define MEMBERSHIP_PROBES \
	4 /* … beyond, that many a tick, in shuffled rounds: with the answers, as many packets */
#define MEMBERSHIP_HEALTH_MAX 8
#define MEMBERSHIP_LIVES_MAX \
	0x7fffffffu /* generations and incarnations above are refused: nobody lives that often */
#define MEMBERSHIP_ACTIONS_MAX 256
/* Room for records in a heartbeat, and what one takes in it (src/gossip/wire.h, version 2). */
#define MEMBERSHIP_ROOM_BYTES	1236
#define MEMBERSHIP_RECORD_BYTES 40

/* Numbers are those of the wire and of src/gossip/message.h. */
enum member_state {
	MEMBER_UNKNOWN = 0,
	MEMBER_ALIVE = 1,
	MEMBER_SUSPECT = 2,
	MEMBER_DEAD = 3,
	MEMBER_LEFT = 4,
};

struct membership_timers {
	uint32_t tick_ms;	   /* a heartbeat to everyone that often */
	uint32_t ask_ms;	   /* silent that long: ask others about it */
	uint32_t suspect_ms;	   /* silent that long, for the others too: suspect */
	uint32_t suspicion_min_ms; /* suspect that long, and enough others agree: dead */
	uint32_t suspicion_max_ms; /* the same when nobody else says so */
	uint32_t fresh_ms;	   /* a packet is evidence of life if it echoes something we sent at
				      most that long ago */
	uint32_t
		spread_ticks; /* a change travels in as many packets as a mesh sends in that time */
	uint32_t digest_ticks; /* views are compared every so many ticks; the dead are probed as
				  often */
	uint32_t leave_ms;     /* how long a leaving member goes on saying so */
};
extern const struct membership_timers membership_timers_default;

/* What a member says of itself besides being there; and its tags. */
struct member_status {
	bool ready;
	uint16_t services, services_ready, services_failed;
};

/* Words K=V separated by single blanks, printable ASCII; opaque in here. */
struct member_tags {
	uint8_t bytes;
	char text[MEMBERSHIP_TAGS_MAX];
};

/* 0 for no tags only. */
uint32_t membership_tags_hash(const char *text, size_t bytes);

/* One opinion about one member, as it travels. Order: (generation, incarnation), then the state's
 * number. */
struct membership_record {
	uint16_t index;
	uint8_t state;	       /* enum member_state, never UNKNOWN */
	bool own;	       /* the sender's own judgement: its own questions went unanswered */
	uint16_t heard_age_ms; /* since the sender itself had an answer from the member;
				  MEMBERSHIP_AGE_NEVER */
	uint16_t agreed;       /* SUSPECT: bit (index mod 16) of each whose own judgement it is */
	uint32_t generation;   /* which life of the member */
	uint32_t incarnation;  /* which statement of that life */
	uint64_t boot_id;      /* 0 never */
	struct member_status status;
	bool tagged;	    /* tags_hash is known: version 2 */
	uint32_t tags_hash; /* 0: no tags */
	uint8_t tags_bytes; /* of the heartbeat's text, from tags_at; 0: not in this packet */
	uint16_t tags_at;
};

struct membership_digest {
	uint16_t segment; /* members segment * MEMBERSHIP_SEGMENT and following */
	uint64_t hash;	  /* 48 bits, of what the sender knows of them */
};

/* The content of the only packet there is between members that know each other: probe, answer,
 * question and rumour in one. */
struct membership_heartbeat {
	bool reply; /* please send one back at once */
	uint8_t ask_count, nack_count, digest_count, record_count;
	uint16_t ask[MEMBERSHIP_ASKS_MAX];  /* members that the sender does not hear: does the
					       receiver? */
	uint16_t nack[MEMBERSHIP_ASKS_MAX]; /* asked for by the receiver: no, neither */
	struct membership_digest digest[MEMBERSHIP_DIGESTS_MAX];
	struct membership_record record[MEMBERSHIP_RECORDS_MAX];
	uint16_t text_bytes;
	char text[MEMBERSHIP_ROOM_BYTES];
};

struct member {
	uint64_t boot_id;
	uint64_t since_ms;    /* in this state */
	uint64_t heard_ms;    /* last packet from it that answers us; 0 never */
	uint64_t evidence_ms; /* last sign of life, our own or another's */
	uint64_t sent_ms;     /* last heartbeat to it */
	uint64_t probe_ms;    /* beyond mesh size: first probe that is unanswered yet; 0 none */
	uint32_t generation, incarnation;
	struct member_status status;
	uint32_t tags_hash;
	uint16_t agreed;     /* SUSPECT: as in the record */
	uint16_t trouble;    /* its struct membership_case; MEMBERSHIP_NONE */
	uint16_t watch_next; /* lists within the table */
	uint16_t news_next;
	uint8_t state;
	uint8_t version;   /* newest that it speaks; 0 unknown */
	uint8_t news_left; /* packets that its last change shall yet travel in */
	bool direct : 1;   /* generation and incarnation came from itself, not by hearsay */
	bool own : 1;	   /* SUSPECT, DEAD: our own judgement */
	bool told : 1;	   /* it knows that we leave */
	bool asked : 1;	   /* others were asked about it since it was last heard */
	bool watched : 1, news : 1; /* in these lists */
	bool news_tags : 1;	    /* its tags are news */
	bool tags_missing : 1;	    /* tags_hash is known, the tags are not */
};

/* What is kept of a member only while somebody misses it. */
struct membership_case {
	uint16_t member;		     /* MEMBERSHIP_NONE: free */
	uint16_t next;			     /* free list */
	uint8_t helpers;		     /* how many we asked that can say no */
	uint16_t helper[MEMBERSHIP_HELPERS]; /* those of them that did not answer yet */
	uint16_t asker[MEMBERSHIP_HELPERS];  /* who waits for our word on it */
	/* An accusation that we do not believe but pass on to it, so that it objects. state 0:
	 * none. */
	uint8_t accused_state;
	uint32_t accused_generation, accused_incarnation;
	uint64_t accused_boot_id;
};

struct membership {
	struct membership_timers timers;
	/* The caller's: count of the first three, case_count of the last; tags may be NULL. */
	struct member *member;
	uint16_t *order; /* the probing round */
	struct member_tags *tags;
	struct membership_case *cases;
	size_t count, self, cursor, case_count;
	uint8_t version; /* newest that we speak */
	uint16_t watch_first, news_first, news_last, free_case;
	size_t news_count, cases_used;
	uint16_t digest_cursor;
	uint64_t tick_due_ms, judge_due_ms;
	uint64_t random; /* state of a small generator, seeded by events; only spreads load */
	uint64_t shouted_ms, doubted_ms;
	uint32_t health; /* Lifeguard's local health: 0 good … MEMBERSHIP_HEALTH_MAX; timeouts are
			    multiplied by 1 + health */
	uint32_t good_ticks;
	uint32_t scale_permille; /* suspicion lasts longer in large clusters */
	uint8_t news_limit;	 /* packets that a change travels in */
	uint64_t leaving_ms;	 /* 0: not leaving */
	bool gone;		 /* and done: nothing is sent any more */

	/* Counted since init. */
	uint64_t tick, late_ticks;
	uint64_t changes;     /* sequence number of the last change */
	uint32_t conflicts;   /* times that another boot was seen to live under our name */
	uint64_t suspicions;  /* members that we ourselves came to suspect */
	uint64_t objections;  /* times that we objected to what was said of us */
	uint64_t unhelped;    /* suspicions where none of those asked said anything */
	uint64_t differences; /* digests that differed */
	uint64_t disbelieved; /* accusations of members that we hear */
};

struct membership_config {
	const struct membership_timers *timers;
	size_t count;		  /* 1..MEMBERSHIP_NONE-1 */
	size_t self;		  /* < count */
	uint64_t boot_id;	  /* of self, not 0 */
	uint8_t version;	  /* newest to speak: MEMBERSHIP_VERSION, or an older one */
	struct member *member;	  /* count */
	uint16_t *order;	  /* count */
	struct member_tags *tags; /* count; NULL: tags are neither kept nor told */
	struct membership_case *cases;
	size_t case_count; /* at least 1; with one a member nobody's trouble is ever overlooked */
};

enum membership_event_type {
	MEMBERSHIP_TIME,      /* membership_next_ms() has come (or any time earlier, or later) */
	MEMBERSHIP_CONTACT,   /* `from` has proven that it lives now, with boot_id */
	MEMBERSHIP_HEARTBEAT, /* from `from`, sealed by it */
	MEMBERSHIP_STATUS,    /* our own status is now `status`, our tags `tags` */
	MEMBERSHIP_LEAVE,     /* we are going */
};

struct membership_event {
	enum membership_event_type type;
	uint64_t random; /* TIME */
	uint16_t from;
	uint64_t boot_id; /* CONTACT, HEARTBEAT */
	uint8_t version;  /* CONTACT, HEARTBEAT: newest that `from` speaks */
	bool newest;	  /* HEARTBEAT: sent after all seen from it before */
	uint32_t age_ms;  /* HEARTBEAT: it was sent at most that long ago (it echoes what we sent
			     then); UINT32_MAX: cannot tell */
	const struct membership_heartbeat *heartbeat;
	struct member_status status;	/* STATUS */
	const struct member_tags *tags; /* STATUS; NULL: as they are */
};

enum membership_action_type {
	MEMBERSHIP_SEND,    /* send `index` a heartbeat: membership_fill() gives its content */
	MEMBERSHIP_CHANGED, /* something about a member is another: `change` */
	MEMBERSHIP_GONE,    /* all were told that we leave */
};

/* The ordered stream of what happened. Every step's changes come in the order of their numbers. */
enum member_change {
	MEMBER_CHANGE_NUMBERS, /* generation or incarnation only: nothing to tell anybody */
	MEMBER_CHANGE_JOINED,  /* alive: first time, again, or as another boot */
	MEMBER_CHANGE_ALIVE,   /* suspect no more */
	MEMBER_CHANGE_SUSPECT,
	MEMBER_CHANGE_DEAD,
	MEMBER_CHANGE_LEFT,
	MEMBER_CHANGE_UPDATED, /* readiness, services or tags */
};

struct membership_change {
	uint64_t sequence; /* 1, 2, …: no gaps; the last one's again for NUMBERS */
	uint8_t what;	   /* enum member_change */
	uint8_t state;	   /* enum member_state, after it */
	bool ready;
	uint32_t generation, incarnation;
	uint64_t boot_id;
};

struct membership_action {
	enum membership_action_type type;
	uint16_t index;
	/* SEND only: what membership_fill() puts into it. */
	bool reply, full, digest; /* full: everything known, not just what is news */
	uint8_t ask_count, nack_count, about_count;
	uint16_t segment; /* records of these members; MEMBERSHIP_NONE */
	uint16_t ask[MEMBERSHIP_ASKS_MAX], nack[MEMBERSHIP_ASKS_MAX], about[MEMBERSHIP_ASKS_MAX];
	struct membership_change change; /* CHANGED only */
};

struct membership_actions {
	size_t count;
	struct membership_action action[MEMBERSHIP_ACTIONS_MAX];
};

/* All members are UNKNOWN but oneself. */
void membership_init(struct membership *m, const struct membership_config *config, uint64_t now_ms);

/* After init: takes over what was known of a member (also of oneself) under an earlier table; its
 * tags may be NULL. */
void membership_keep(struct membership *m, size_t index, const struct member *known,
		     const struct member_tags *tags);

/*
 * After init, by a process that replaces an earlier one of the same boot: what that one knew of a
 * member. Its silence counts from now. The record about oneself makes our next statement follow the
 * last one. Records of another boot of oneself, or out of range, are ignored.
 */
void membership_restore(struct membership *m, const struct membership_record *known,
			const struct member_tags *tags, uint64_t now_ms);

/* The one transition function. `actions` is overwritten. Events with an index out of range are
 * ignored. */
void membership_step(struct membership *m, const struct membership_event *event, uint64_t now_ms,
		     struct membership_actions *actions);

/* The content for one SEND action, made at the time of sending; counts what has been told. */
void membership_fill(struct membership *m, const struct membership_action *send, uint64_t now_ms,
		     struct membership_heartbeat *heartbeat);

/* When MEMBERSHIP_TIME is due next. */
uint64_t membership_next_ms(const struct membership *m);

#endif
