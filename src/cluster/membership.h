/*
 * Who is there: SWIM with parts of Lifeguard, as a pure state machine (docs/GOSSIP.md tells why
 * each rule is as it is).
 *
 * membership_step(state, event, now) -> actions. No clock, no socket, no allocation, no random
 * source in here: the caller passes them in, so that the gossip process, the unit tests and a
 * simulator run the very same code.
 *
 * A member is named by its index in the caller's table; the wire's names and keys are the caller's
 * business. Times are milliseconds of one monotonic clock, never 0, and never go back. All memory
 * belongs to the caller.
 *
 * References: Das, Gupta, Motivala, "SWIM", DSN 2002; Dadgar, Phillips, Currey, "Lifeguard", DSN-W
 * 2018.
 */
#ifndef SUPERVISOR_CLUSTER_MEMBERSHIP_H
#define SUPERVISOR_CLUSTER_MEMBERSHIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEMBERSHIP_NONE 0xffffu /* no member */
#define MEMBERSHIP_AGE_NEVER \
	0xffffu /* membership_record.heard_age_ms: not heard, or longer ago than can be told */
#define MEMBERSHIP_RECORDS_MAX 32 /* in one heartbeat: what 1400 bytes hold (src/gossip/wire.h) */
#define MEMBERSHIP_ASKS_MAX    4  /* questions in one heartbeat */
#define MEMBERSHIP_HELPERS     3  /* SWIM's k: how many are asked about one silent member */
#define MEMBERSHIP_MESH_MAX    9 /* up to that many members everyone probes everyone every tick … */
#define MEMBERSHIP_PROBES      8 /* … beyond, that many a tick, in shuffled rounds */
#define MEMBERSHIP_HEALTH_MAX  8
#define MEMBERSHIP_LIVES_MAX \
	0x7fffffffu /* generations and incarnations above are refused: nobody lives that often */
#define MEMBERSHIP_ACTIONS_MAX 256

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
	uint32_t fresh_ms;  /* a packet is evidence of life if it echoes something we sent at most
			       that long ago */
	uint32_t spread_ms; /* a change travels in every heartbeat for that long */
	uint32_t digest_ticks; /* everything we know is told every so many ticks; the dead are
				  probed as often */
	uint32_t leave_ms;     /* how long a leaving member goes on saying so */
};
extern const struct membership_timers membership_timers_default;

/* What a member says of itself besides being there. */
struct member_status {
	bool ready;
	uint16_t services, services_ready, services_failed;
};

/* One opinion about one member, as it travels. Order: (generation, incarnation), then the state's
 * number. */
struct membership_record {
	uint16_t index;
	uint8_t state;	       /* enum member_state, never UNKNOWN */
	bool own;	       /* the sender's own judgement: its own questions went unanswered */
	uint16_t heard_age_ms; /* since the sender itself had an answer from the member;
				  MEMBERSHIP_AGE_NEVER */
	uint32_t generation;   /* which life of the member */
	uint32_t incarnation;  /* which statement of that life */
	uint64_t boot_id;      /* 0 never */
	struct member_status status;
};

/* The content of the only packet there is between members that know each other: probe, answer,
 * question and rumour in one. */
struct membership_heartbeat {
	bool reply; /* please send one back at once */
	size_t ask_count, record_count;
	uint16_t ask[MEMBERSHIP_ASKS_MAX]; /* members that the sender does not hear: does the
					      receiver? */
	struct membership_record record[MEMBERSHIP_RECORDS_MAX];
};

struct member {
	uint8_t state;
	bool direct; /* the state's generation and incarnation came from itself, not by hearsay */
	bool own;    /* SUSPECT, DEAD: our own judgement */
	bool told;   /* it knows that we leave */
	uint32_t generation, incarnation;
	uint64_t boot_id;
	struct member_status status;
	uint64_t since_ms;    /* in this state */
	uint64_t heard_ms;    /* last packet from it that answers us; 0 never */
	uint64_t evidence_ms; /* last sign of life, our own or another's */
	uint64_t sent_ms;     /* last heartbeat to it */
	uint64_t probe_ms;    /* beyond mesh size: first probe that is unanswered yet; 0 none */
	uint64_t asked_ms;    /* others were asked about it; 0 not since it was last heard */
	uint64_t changed_ms;  /* last change worth spreading; 0 never */
	uint16_t confirmer[MEMBERSHIP_HELPERS]; /* who else does not hear it,
						   MEMBERSHIP_NONE-terminated */
	uint16_t asker[MEMBERSHIP_HELPERS];	/* who waits for our word on it, likewise */
	/* An accusation that we do not believe but pass on to it, so that it objects. state 0:
	 * none. */
	uint8_t accused_state;
	uint32_t accused_generation, accused_incarnation;
	uint64_t accused_boot_id;
};

struct membership {
	struct membership_timers timers;
	struct member *member; /* count of them, the caller's */
	uint16_t *order;       /* likewise: the probing round */
	size_t count, self, cursor;
	uint64_t tick_due_ms;
	uint64_t tick;
	uint64_t late_ticks;
	uint64_t random; /* state of a small generator, seeded by events; only spreads load */
	uint64_t shouted_ms;
	uint32_t health; /* Lifeguard's local health: 0 good … MEMBERSHIP_HEALTH_MAX; timeouts are
			    multiplied by 1 + health */
	uint32_t good_ticks;
	uint64_t leaving_ms; /* 0: not leaving */
	bool gone;	     /* and done: nothing is sent any more */
	uint32_t conflicts;  /* times that another boot was seen to live under our name */
};

enum membership_event_type {
	MEMBERSHIP_TIME,      /* membership_next_ms() has come (or any time earlier, or later) */
	MEMBERSHIP_CONTACT,   /* `from` has proven that it lives now, with boot_id */
	MEMBERSHIP_HEARTBEAT, /* from `from`, sealed by it */
	MEMBERSHIP_STATUS,    /* our own status is now `status` */
	MEMBERSHIP_LEAVE,     /* we are going */
};

struct membership_event {
	enum membership_event_type type;
	uint64_t random; /* TIME */
	uint16_t from;
	uint64_t boot_id; /* CONTACT, HEARTBEAT */
	bool newest;	  /* HEARTBEAT: sent after all seen from it before */
	uint32_t age_ms;  /* HEARTBEAT: it was sent at most that long ago (it echoes what we sent
			     then); UINT32_MAX: cannot tell */
	const struct membership_heartbeat *heartbeat;
	struct member_status status;
};

enum membership_action_type {
	MEMBERSHIP_SEND,    /* send `index` a heartbeat: membership_fill() gives its content */
	MEMBERSHIP_CHANGED, /* a member's state, status, boot or life is another */
	MEMBERSHIP_GONE,    /* all were told that we leave */
};

struct membership_action {
	enum membership_action_type type;
	uint16_t index;
	/* SEND only: what membership_fill() puts into it. */
	bool reply, full; /* full: everything known, not just what is news */
	uint8_t ask_count, about_count;
	uint16_t ask[MEMBERSHIP_ASKS_MAX], about[MEMBERSHIP_ASKS_MAX];
};

struct membership_actions {
	size_t count;
	struct membership_action action[MEMBERSHIP_ACTIONS_MAX];
};

/* count in 1..MEMBERSHIP_NONE-1, self < count, boot_id not 0. All members are UNKNOWN but oneself.
 */
void membership_init(struct membership *m, const struct membership_timers *timers,
		     struct member *table, uint16_t *order, size_t count, size_t self,
		     uint64_t boot_id, uint64_t now_ms);
/* After init: takes over what was known of a member (also of oneself) under an earlier table. */
void membership_keep(struct membership *m, size_t index, const struct member *known);

/* The one transition function. `actions` is overwritten. Events with an index out of range are
 * ignored. */
void membership_step(struct membership *m, const struct membership_event *event, uint64_t now_ms,
		     struct membership_actions *actions);

/* The content for one SEND action, made at the time of sending. */
void membership_fill(const struct membership *m, const struct membership_action *send,
		     uint64_t now_ms, struct membership_heartbeat *heartbeat);

/* When MEMBERSHIP_TIME is due next. */
uint64_t membership_next_ms(const struct membership *m);

#endif
