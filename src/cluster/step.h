/*
 * Within src/cluster only: what the files of the membership share. One struct step lives while one
 * event is handled; act_* note what is to be done, judge_* draw conclusions from silence, hear_*
 * take in what others say, tell_* choose what is said.
 */
#ifndef SUPERVISOR_CLUSTER_STEP_H
#define SUPERVISOR_CLUSTER_STEP_H

#include "src/cluster/membership.h"

/* Room is kept for both kinds of action, so that neither pushes the other out. */
#define STEP_SENDS_MAX	 128
#define STEP_CHANGES_MAX (MEMBERSHIP_ACTIONS_MAX - STEP_SENDS_MAX - 1)

struct step {
	struct membership *m;
	struct membership_actions *actions;
	size_t sends, changes;
	uint64_t now;
};

static inline bool is_active(const struct member *x)
{
	return x->state == MEMBER_ALIVE || x->state == MEMBER_SUSPECT;
}

static inline bool is_mesh(const struct membership *m)
{
	return m->count <= MEMBERSHIP_MESH_MAX;
}

static inline uint64_t patience(const struct membership *m, uint32_t ms)
{
	return (uint64_t)ms * (1 + m->health);
}

static inline int compare_lives(uint32_t generation, uint32_t incarnation, const struct member *x)
{
	if (generation != x->generation)
		return generation < x->generation ? -1 : 1;
	if (incarnation != x->incarnation)
		return incarnation < x->incarnation ? -1 : 1;
	return 0;
}

static inline bool same_status(const struct member_status *a, const struct member_status *b)
{
	return a->ready == b->ready && a->services == b->services &&
	       a->services_ready == b->services_ready && a->services_failed == b->services_failed;
}

/* act.c */
uint32_t random_below(struct membership *m, size_t limit);
/* The one heartbeat that this step sends to `index`; NULL when there is no room (the next tick
 * makes up for it) or when none may be sent. */
struct membership_action *act_send(struct step *s, size_t index);
void act_send_reply_wanted(struct step *s, size_t index);
void act_send_about(struct step *s, size_t to, size_t about);
void act_send_question(struct step *s, size_t to, size_t about);
void act_send_nack(struct step *s, size_t to, size_t about);
/* Something that all should hear without waiting for the next tick; but a quarrel must not become a
 * storm. */
void act_shout(struct step *s, bool reply);
void act_gone(struct step *s);
/* A member's last change shall be told to the others (again). */
void act_news(struct membership *m, size_t index);
/* Its numbers or its status were changed by the caller; reports that, and tells the others. */
void act_changed(struct step *s, size_t index, enum member_change what);
/* The same, with a new state. `what` is reported if the state stays as it was. */
void act_state(struct step *s, size_t index, uint8_t state, enum member_change what);

/* judge.c */
void judge_watch(struct membership *m, size_t index);
bool judge_is_vivid(const struct step *s, const struct member *x);
void judge_evidence(struct step *s, size_t index, uint64_t when);
bool judge_is_silent(const struct step *s, const struct member *x, uint32_t ms);
/* An earlier look at the member may be needed than was planned. */
void judge_soon(struct membership *m, size_t index);
void judge_all(struct step *s);
void judge_forgive(struct step *s, uint64_t gap);
void judge_health_worse(struct membership *m, uint32_t by);
/* What is kept of a member in trouble; NULL: nothing is kept, or there is no room. */
struct membership_case *judge_case(struct membership *m, size_t index, bool make);
void judge_close_case(struct membership *m, size_t index);
void judge_list_clear(uint16_t list[MEMBERSHIP_HELPERS]);

/* hear.c */
void hear_contact(struct step *s, const struct membership_event *event);
void hear_heartbeat(struct step *s, const struct membership_event *event);

/* tell.c */
uint64_t tell_digest(const struct membership *m, size_t segment);
static inline size_t tell_segments(const struct membership *m)
{
	return (m->count + MEMBERSHIP_SEGMENT - 1) / MEMBERSHIP_SEGMENT;
}

#endif
