#include "src/control/serve_members.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "src/supervise/gossip_link.h"

_Static_assert(GOSSIP_DROP_REASONS == CONTROL_DROPS, "one counter a reason");
_Static_assert(GOSSIP_TAGS_MAX < CONTROL_TAGS_BYTES, "room for all tags");

static uint64_t passed(uint64_t since_ms)
{
	uint64_t now_ms = loop_now_ms();

	return now_ms > since_ms ? now_ms - since_ms : 0;
}

static void put_said(struct control_member *out, const struct gossip_member *said)
{
	const struct cluster_node *node = &gossip_view()->cluster->node[said->index];

	snprintf(out->name, sizeof(out->name), "%s", node->name);
	snprintf(out->role, sizeof(out->role), "%s", node->role);
	inet_ntop(AF_INET, &node->address.address, out->address, sizeof(out->address));
	snprintf(out->state, sizeof(out->state), "%s", gossip_state_name(said->state));
	snprintf(out->conflict, sizeof(out->conflict), "%s", gossip_conflict_name(said->conflict));
	out->self = node == gossip_view()->self;
	out->revoked = node->key_count == 0;
	out->ready = said->ready;
	out->services = said->services;
	out->services_ready = said->services_ready;
	out->services_failed = said->services_failed;
	out->generation = said->generation;
	out->incarnation = said->incarnation;
	out->boot_id = said->boot_id;
	memcpy(out->tags, said->tags, sizeof(said->tags));
}

static void put_member(struct control_member *out, size_t index)
{
	const struct gossip_view *view = gossip_view();
	const struct gossip_peer *peer = &view->member[index].peer;
	struct gossip_member said = view->member[index].said;

	said.index = (uint16_t)index;
	put_said(out, &said);
	gossip_link_alarm(index, out->alarm);
	out->stale = !view->running;
	out->since_ms = passed(view->member[index].since_ms);
	out->rtt_us = peer->rtt_us;
	out->rtt_min_us = peer->rtt_min_us;
	out->rtt_last_us = peer->rtt_last_us;
	out->loss_permille = peer->loss_permille;
	out->version = peer->version;
	out->session = peer->session;
	out->sent = peer->sent;
	out->received = peer->received;
	out->missed = peer->missed;
}

static void put_gossip(struct control_gossip *out)
{
	const struct gossip_view *view = gossip_view();
	const struct gossip_progress *p = &view->progress;

	out->running = view->running;
	out->since_ms = passed(view->since_ms);
	out->ticks = p->ticks;
	out->late_ticks = p->late_ticks;
	out->packets_in = p->packets_in;
	out->packets_out = p->packets_out;
	out->bytes_in = p->bytes_in;
	out->bytes_out = p->bytes_out;
	out->suspicions = p->suspicions;
	out->objections = p->objections;
	out->changes = p->changes;
	out->health = p->health;
	out->locked = p->locked;
	out->realtime = p->realtime;
	memcpy(out->dropped, p->dropped, sizeof(out->dropped));
}

size_t members_count(void)
{
	return gossip_view()->cluster ? 1 + gossip_view()->cluster->node_count : 0;
}

void members_fill(struct control_record *record, size_t number)
{
	/* The cluster file may have been read anew in between. */
	if (number == 0 || number >= members_count()) {
		record->type = CONTROL_GOSSIP_RECORD;
		put_gossip(&record->gossip);
		return;
	}
	record->type = CONTROL_MEMBER_RECORD;
	put_member(&record->member, number - 1);
}

void members_begin(struct members_cursor *cursor)
{
	cursor->next = gossip_view()->next_event;
	cursor->snapshot = 0;
}

static const char *event_name(unsigned change)
{
	if (change == GOSSIP_EVENT_STOPPED)
		return "stopped";
	return change == GOSSIP_EVENT_STARTED ? "started" : gossip_change_name(change);
}

bool members_next(const struct members_cursor *cursor, struct control_record *record)
{
	const struct gossip_view *view = gossip_view();
	struct control_event *out = &record->event;

	if (!view->cluster ||
	    (cursor->next == view->next_event && cursor->snapshot >= view->cluster->node_count))
		return false;
	record->type = CONTROL_EVENT_RECORD;
	if (cursor->next < view->first_event) {
		out->missed = view->first_event - cursor->next;
		snprintf(out->what, sizeof(out->what), "missed");
	} else if (cursor->snapshot < view->cluster->node_count) {
		out->number = view->next_event;
		snprintf(out->what, sizeof(out->what), "now");
		put_member(&out->member, cursor->snapshot);
	} else {
		const struct gossip_event *event = &view->event[cursor->next % GOSSIP_EVENTS];
		out->number = cursor->next;
		out->missed = event->missed;
		out->age_ms = passed(event->at_ms);
		snprintf(out->what, sizeof(out->what), "%s", event_name(event->change));
		put_said(&out->member, &event->said);
	}
	return true;
}

void members_advance(struct members_cursor *cursor)
{
	const struct gossip_view *view = gossip_view();

	if (cursor->next < view->first_event)
		members_begin(cursor);
	else if (cursor->snapshot < view->cluster->node_count)
		cursor->snapshot++;
	else
		cursor->next++;
}

void members_alarm(char *text, size_t bytes)
{
	const struct gossip_view *view = gossip_view();
	char alarm[GOSSIP_ALARM_BYTES] = "";

	for (size_t i = 0; view->cluster && !alarm[0] && i < view->cluster->node_count; i++)
		gossip_link_alarm(i, alarm);
	snprintf(text, bytes, "%s", alarm);
}
