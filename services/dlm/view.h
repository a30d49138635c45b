/*
 * Who is a member of a lockspace: a view, agreed on by the two data nodes before either kernel acts
 * on it.
 *
 * A view has a number, a set of members and a phase. A change goes in two steps: STOP (every member
 * of the old view has halted its lockspace and said so), then START (every member of the new view
 * goes on with the same set). Each node always shows its whole state, (view, wish), so that a lost
 * connection loses nothing: on the next one both go on from where they are.
 *
 * One node decides about the next view, the coordinator: the only member if there is exactly one,
 * else the node with the lower id. The rules that keep two kernels from ever running with different
 * sets:
 *
 *   - the coordinator starts a view only after the peer has shown that it stopped for that very
 * view;
 *   - to join takes the peer's consent also when it is no member, or the word that its old life is
 * over (view_peer_dead);
 *   - alone, a node may only leave a lockspace of which it is the only member, or call off the
 * joining of a lost peer;
 *   - a wish counts only if it was shown on the present connection.
 *
 * A control process that ended and is started again, in the same boot, goes on from what it had
 * saved (view_resume). The kernel halted its lockspaces meanwhile; the next view, with the same
 * members, sets them going again.
 *
 * Pure: no clock, no memory, no system call. The caller does what the machine puts into
 * view_actions, in order, at once.
 */
#ifndef SERVICES_DLM_VIEW_H
#define SERVICES_DLM_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A set of nodes. */
#define VIEW_LOW  1u /* the node with the lower id */
#define VIEW_HIGH 2u

enum view_phase { VIEW_STOP = 1, VIEW_START = 2 };

struct view {
	uint64_t number;
	uint8_t phase;
	uint8_t base;	 /* members before this change */
	uint8_t members; /* members when it has been made */
};

enum view_do {
	VIEW_DO_STOP,	     /* halt the lockspace */
	VIEW_DO_FORGET_PEER, /* take the peer out of the lockspace and end the connection to its old
				life: its locks are recovered */
	VIEW_DO_START,	     /* go on with `members` */
	VIEW_DO_JOINED,	     /* tell the kernel that the join is done */
	VIEW_DO_LEFT,	     /* take the lockspace down and tell the kernel that leaving is done */
	VIEW_DO_SEND,	     /* show (view, want, halted) to the peer */
	VIEW_DO_EXCLUDED,    /* the peer went on without this node, which still held locks: it must
				restart */
	VIEW_DO_BREAK,	     /* the peer speaks nonsense: end the connection */
};

#define VIEW_ACTIONS_MAX 24

struct view_actions {
	size_t count;
	struct {
		enum view_do what;
		uint8_t members; /* VIEW_DO_START */
	} action[VIEW_ACTIONS_MAX];
};

struct view_machine {
	uint8_t self, peer; /* peer 0: there is none */
	bool connected;	    /* the peer's present life is known and reachable */
	bool peer_shown;    /* peer_view and peer_want are from the present connection */
	bool peer_dead;	    /* its last life is over and no new one has been seen */
	bool want;	    /* the local kernel wants to be, or is, in the lockspace */
	bool member;	    /* the local kernel is in */
	bool running;	    /* and not halted */
	bool peer_want, peer_halted;
	struct view view, peer_view;
};

void view_init(struct view_machine *machine, uint8_t self, uint8_t peer);

/* After an earlier process of the same boot: its last view and wish. Whether this node is a member
 * follows from them. */
void view_resume(struct view_machine *machine, const struct view *view, bool want);
/* A member whose kernel does not run although its view says so. */
bool view_is_halted(const struct view_machine *machine);

/* Events. Each appends to *actions, which the caller has emptied. */
void view_want(struct view_machine *machine, bool want, struct view_actions *actions);
void view_connected(struct view_machine *machine, struct view_actions *actions);
void view_disconnected(struct view_machine *machine, struct view_actions *actions);
/* The life of the peer that was known so far is over: it was fenced, or a new one has just shown
 * itself (then view_connected follows). */
void view_peer_dead(struct view_machine *machine, struct view_actions *actions);
void view_shown(struct view_machine *machine, const struct view *view, bool want, bool halted,
		struct view_actions *actions);

#endif
