/*
 * Within src/gossip only: what the files of the gossip process share. gossip.c is its loop and what
 * the supervising process tells it, packets.c what goes over the network, report.c what the
 * supervising process is told.
 */
#ifndef SUPERVISOR_GOSSIP_PROCESS_H
#define SUPERVISOR_GOSSIP_PROCESS_H

#include <netinet/in.h>

#include "src/cluster/membership.h"
#include "src/gossip/link.h"
#include "src/gossip/message.h"
#include "src/gossip/seal.h"
#include "src/gossip/wire.h"

#define PROCESS_SOCKET_FD 0
#define PROCESS_QUEUE	  128 /* changes that the supervising process did not take yet */

struct peer {
	struct gossip_node node;
	struct sockaddr_in address;
	struct seal_peer seal;
	struct link link;
	bool dirty;	       /* the supervising process is to be told */
	uint8_t reported;      /* state in the log */
	uint8_t conflict;      /* enum gossip_conflict, as told */
	int send_errno;	       /* of the last send, said once */
	uint32_t elsewhere;    /* who holds its key at another address … */
	uint64_t elsewhere_us; /* … and when he proved it last; 0: nobody */
};

/* One configuration: everything that is indexed by member. */
struct table {
	struct gossip_self self;
	struct peer peer[GOSSIP_NODES_MAX];
	uint64_t id[GOSSIP_NODES_MAX];
	struct member member[GOSSIP_NODES_MAX];
	uint16_t order[GOSSIP_NODES_MAX];
	struct member_tags tags[GOSSIP_NODES_MAX];
	struct membership_case cases[GOSSIP_NODES_MAX];
	struct gossip_member known[GOSSIP_NODES_MAX]; /* from before; boot_id 0: nothing */
};

struct process {
	struct table table[2];
	struct table *now; /* NULL before the first configuration */
	struct wire_table ids;
	struct seal_self seal;
	struct membership membership;
	struct member_status status;

	struct table *next;		  /* being told; NULL between configurations */
	bool next_seen[GOSSIP_NODES_MAX]; /* NODE has come */
	uint16_t next_count;

	struct gossip_progress progress;
	struct gossip_member queue[PROCESS_QUEUE]; /* changes in order */
	size_t queue_first, queue_count;
	bool pinged, left_due;
	uint64_t query; /* serial to be answered; 0: none */
	uint16_t query_next;

	uint64_t accused_us; /* a sibling said that our own name is held twice; 0: never */
	uint64_t budget_ms;  /* packets are counted since then, … */
	unsigned budget_used;
	bool filtered; /* the socket has its filter */
};
extern struct process process;

/* One event for the membership, and everything that follows from it. Nothing before the first
 * configuration. */
void process_step(const struct membership_event *event, uint64_t now_us);
uint64_t process_now_us(void);

/* packets.c */
void packets_send(const struct membership_action *action, uint64_t now_us);
/* False: as many as may be in so short a time, more may be waiting. */
bool packets_receive(void);
/* Lets the kernel drop what can be of no sibling. Once, when our boot id is known. */
void packets_filter(uint64_t boot_id);

/* report.c */
void report_change(uint16_t index, const struct membership_change *change);
void report_conflicts(uint64_t now_us);
/* Tells what there is to tell, as far as it is taken. */
void report_flush(void);

#endif
