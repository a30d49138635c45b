/*
 * Between the command line and the supervising process: a Unix socket, SOCK_SEQPACKET, RUN/control,
 * mode 0600. One request, then any number of records, then one END; fixed sizes, native byte order:
 * both ends are the same executable. The supervising process only hands out what it knows; tables
 * and JSON are made by the command line.
 */
#ifndef SUPERVISOR_CONTROL_PROTOCOL_H
#define SUPERVISOR_CONTROL_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/config/cluster.h"
#include "src/config/report.h"
#include "src/config/service.h"

#define CONTROL_MAGIC	    0x63746c34u /* "ctl4": changes with the layout below */
#define CONTROL_TEXT_BYTES  280
#define CONTROL_CHECK_BYTES 128
#define CONTROL_TAGS_BYTES  129
#define CONTROL_DROPS	    11

enum control_verb {
	CONTROL_STATUS = 1, /* name: one service, "" all; SERVICE records after one NODE record */
	CONTROL_MEMBERS,    /* one GOSSIP record, MEMBER records */
	CONTROL_START,
	CONTROL_STOP,
	CONTROL_RESTART,
	CONTROL_KILL,	  /* number: the signal, to all processes of the service */
	CONTROL_SHUTDOWN, /* number: enum control_shutdown */
	CONTROL_WATCH,	  /* EVENT records, for as long as the client stays */
	CONTROL_RELOAD,	  /* name: that service; "": the configuration, CHANGE records */
	CONTROL_SCALE,	  /* name: a pool, number: its members, 0: as its file says; likewise */
	CONTROL_VERBS_END,
};

enum control_shutdown { CONTROL_POWEROFF, CONTROL_REBOOT, CONTROL_HALT, CONTROL_KEXEC };

#define CONTROL_FORCE (1u << 0) /* also stop what depends on it, start: what excludes it */
#define CONTROL_NO_WAIT \
	(1u << 1) /* start, stop, restart, reload, scale: answer at once, not when it is done */

struct control_request {
	uint32_t magic;
	uint16_t verb;
	uint16_t flags;
	int32_t number;
	char name[SERVICE_NAME_BYTES];
};

enum control_type {
	CONTROL_NODE_RECORD = 1,
	CONTROL_SERVICE_RECORD,
	CONTROL_MEMBER_RECORD,
	CONTROL_END,
	CONTROL_GOSSIP_RECORD,
	CONTROL_EVENT_RECORD,
	CONTROL_CHANGE_RECORD,
};

struct control_node {
	char name[NAME_BYTES]; /* "" without a cluster */
	char profile[NAME_BYTES];
	uint8_t ready; /* all that is wanted here is up */
	uint8_t stopping;
	uint16_t services, services_ready, services_failed;
	uint64_t up_ms;	  /* since the supervising process began */
	uint64_t boot_ms; /* from then until all was ready for the first time; 0: not yet */
	char alarm[160];  /* "", or what is wrong about who speaks as whom in the cluster */
};

struct control_service {
	char name[SERVICE_NAME_BYTES];
	char state[16]; /* "ready", "waiting", … */
	uint8_t wanted;
	uint8_t running;
	int32_t pid;		      /* 0: none */
	uint32_t starts;	      /* ever */
	uint32_t failures;	      /* in a row */
	uint64_t since_ms;	      /* in this state for so long */
	uint8_t health;		      /* enum control_health */
	uint32_t check_failures;      /* in a row */
	char why[CONTROL_TEXT_BYTES]; /* what it waits for, how it ended, what it says of itself */
	char check[CONTROL_CHECK_BYTES]; /* what its last check found, "" if none has ended yet */
};

enum control_health {
	CONTROL_UNWATCHED, /* it has no check and no watchdog */
	CONTROL_UNKNOWN,   /* not ready, or not checked yet */
	CONTROL_WELL,
	CONTROL_ILL, /* its last check failed */
	CONTROL_HEALTHS
};

struct control_member {
	char name[NAME_BYTES];
	char role[NAME_BYTES];
	char address[20];
	char state[12];	   /* "alive", "suspect", "dead", "left", "unknown" */
	char conflict[12]; /* "", "twins", "clones", "elsewhere" */
	uint8_t self;
	uint8_t ready;
	uint8_t stale;	 /* the gossip process does not run: as it was when it ended */
	uint8_t revoked; /* the cluster file gives it no key */
	uint16_t services, services_ready, services_failed;
	uint8_t version; /* of the gossip protocol; 0: unknown */
	uint8_t session; /* its boot is proven to us */
	uint32_t rtt_us, rtt_min_us, rtt_last_us;
	uint32_t loss_permille;
	uint32_t generation, incarnation;
	uint64_t boot_id;
	uint64_t since_ms; /* in this state for so long */
	uint64_t sent, received, missed;
	char tags[CONTROL_TAGS_BYTES];
	char alarm[160];
};

struct control_gossip {
	uint8_t running; /* 0: all that follows is of the process before */
	uint8_t locked, realtime;
	uint32_t health;
	uint64_t since_ms; /* running, or not, for so long */
	uint64_t ticks, late_ticks, packets_in, packets_out, bytes_in, bytes_out;
	uint64_t changes, suspicions, objections;
	uint64_t dropped[CONTROL_DROPS]; /* by enum gossip_drop */
};

struct control_event {
	uint64_t number; /* an event's own; "now": that of the first event not contained in it */
	uint64_t missed; /* so many before it are lost */
	uint64_t age_ms;
	char what[12]; /* "now", "joined", …, "missed": then the rest is empty */
	struct control_member member;
};

/* What a reload does, or why it was refused. */
struct control_change {
	char what[12]; /* "started", …; "kept": `number` services; "refused": a finding */
	uint32_t number;
	char text[CONFIG_FINDING_BYTES]; /* a service, or the finding */
};

struct control_end {
	int32_t code;		       /* exit code for the command line */
	char text[CONTROL_TEXT_BYTES]; /* "" or one line */
};

struct control_record {
	uint32_t magic;
	uint16_t type; /* enum control_type */
	uint16_t reserved;
	union {
		struct control_node node;
		struct control_service service;
		struct control_member member;
		struct control_gossip gossip;
		struct control_event event;
		struct control_change change;
		struct control_end end;
	};
};

/* A request as received: right size, magic, verb, NUL-terminated name, known flags and way of
 * shutting down. */
bool control_request_valid(const void *data, size_t bytes);

#endif
