/*
 * The gossip process's other end: tells it who is in the cluster and how this node is, keeps what
 * it says of the members, and a short history of that for those who follow it. All it sends is
 * validated; a process that breaks the rules is killed and starts anew, and is told what is known.
 *
 * The cluster and node files are read again whenever a gossip process starts: a changed key counts
 * from then on. Files that are refused change nothing.
 */
#ifndef SUPERVISOR_SUPERVISE_GOSSIP_LINK_H
#define SUPERVISOR_SUPERVISE_GOSSIP_LINK_H

#include "src/service/pulse.h"
#include "src/supervise/supervise.h"

#define GOSSIP_EVENTS	   256 /* kept for those who follow; older ones are missed */
#define GOSSIP_ALARM_BYTES 160

/* Besides those of enum gossip_change: the gossip process itself, told of this node. */
enum { GOSSIP_EVENT_STOPPED = 100, GOSSIP_EVENT_STARTED = 101 };

struct gossip_event {
	uint8_t change;
	struct gossip_member said;
	uint64_t at_ms;	 /* loop_now_ms() */
	uint64_t missed; /* so many before it never came here */
};

struct gossip_view {
	/* As last told to a gossip process; NULL: never. Indices of member[] are its. */
	const struct cluster *cluster;
	const struct cluster_node *self;
	bool running;
	uint64_t since_ms; /* running, or not, since then */
	struct {
		bool known; /* anything but "unknown" was said */
		struct gossip_member said;
		uint64_t since_ms;	 /* in this state; loop_now_ms() */
		struct gossip_peer peer; /* as of `answered` */
	} member[CLUSTER_NODES_MAX];
	struct gossip_progress progress; /* as of `answered` */
	uint64_t answered;		 /* serial of the last question that was answered */
	uint64_t started_ms;		 /* the present process */

	/* Numbers [first_event, next_event) are at event[number % GOSSIP_EVENTS]. */
	uint64_t first_event, next_event;
	struct gossip_event event[GOSSIP_EVENTS];
};

const struct gossip_view *gossip_view(void);
/* Called after each event, and when a question is answered or cannot be any more. */
void gossip_link_on_news(void (*news)(void));

void gossip_link_opened(struct supervisor *supervisor, struct instance *gossip);
void gossip_link_closed(struct supervisor *supervisor);
/* Reads the cluster file again and tells the running process, if it was changed. False: it was
 * refused, and said so. */
bool gossip_link_reload(struct supervisor *supervisor);
/* Tells the siblings whether all of this node is up, when that changed. */
void gossip_link_update(struct supervisor *supervisor);
/* Whether it is there (src/service/pulse.h): asks it, and what its answers were; whom that is
 * about, NULL: nobody who could answer. */
void gossip_link_ping(struct supervisor *supervisor);
struct pulse *gossip_link_pulse(void);
const struct instance *gossip_link_process(const struct supervisor *supervisor);
/* This node leaves in good order. */
void gossip_link_leave(struct supervisor *supervisor);
/* Asks for round trips, losses and counters. Its serial, 0: there is nobody to answer. */
uint64_t gossip_link_ask(struct supervisor *supervisor);

/* What is wrong about who speaks as that member, "" if nothing; into text, which is returned. */
const char *gossip_link_alarm(size_t index, char text[GOSSIP_ALARM_BYTES]);

#endif
