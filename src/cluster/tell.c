/* What a packet says: news first, then what was asked for, then what the views differ in. */
#include "src/cluster/step.h"

#include <string.h>

#define HASH_BITS 48

uint32_t membership_tags_hash(const char *text, size_t bytes)
{
	/* FNV-1a. The text is its sender's own; nobody gains by a collision. */
	uint32_t hash = 2166136261u;
	if (bytes == 0)
		return 0;
	for (size_t i = 0; i < bytes; i++)
		hash = (hash ^ (uint8_t)text[i]) * 16777619u;
	return hash != 0 ? hash : 1;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 29;
}

uint64_t tell_digest(const struct membership *m, size_t segment)
{
	size_t first = segment * MEMBERSHIP_SEGMENT;
	uint64_t hash = segment;
	for (size_t i = first; i < m->count && i < first + MEMBERSHIP_SEGMENT; i++) {
		const struct member *x = &m->member[i];
		const struct member_status *status = &x->status;
		if (x->state == MEMBER_UNKNOWN) {
			hash = mix(hash, 0);
			continue;
		}
		hash = mix(hash, x->boot_id);
		hash = mix(hash, (uint64_t)x->generation << 32 | x->incarnation);
		hash = mix(hash, (uint64_t)x->tags_hash << 8 | x->state << 4 |
					 x->tags_missing << 1 | status->ready);
		hash = mix(hash, (uint64_t)status->services << 32 |
					 (uint64_t)status->services_ready << 16 |
					 status->services_failed);
	}
	return hash >> (64 - HASH_BITS);
}

/* One packet in the making. */
struct packet {
	struct membership *m;
	struct membership_heartbeat *hb;
	size_t to, room;
	uint64_t now;
	bool tags[MEMBERSHIP_RECORDS_MAX]; /* of that record, if there is room */
};

/* False: no room. */
static bool add_record(struct packet *p, size_t index, bool tags)
{
	const struct membership *m = p->m;
	const struct member *x = &m->member[index];
	struct membership_heartbeat *hb = p->hb;
	if (x->state == MEMBER_UNKNOWN)
		return true;
	for (size_t i = 0; i < hb->record_count; i++) {
		if (hb->record[i].index == index) {
			p->tags[i] |= tags;
			return true;
		}
	}
	if (p->room < MEMBERSHIP_RECORD_BYTES || hb->record_count == MEMBERSHIP_RECORDS_MAX)
		return false;
	p->room -= MEMBERSHIP_RECORD_BYTES;
	p->tags[hb->record_count] = tags;
	struct membership_record *r = &hb->record[hb->record_count++];
	*r = (struct membership_record){
		.index = (uint16_t)index,
		.state = x->state,
		.own = x->own,
		.heard_age_ms = MEMBERSHIP_AGE_NEVER,
		.agreed = x->state == MEMBER_SUSPECT ? x->agreed : 0,
		.generation = x->generation,
		.incarnation = x->incarnation,
		.boot_id = x->boot_id,
		.status = x->status,
		.tagged = true,
		.tags_hash = x->tags_hash,
	};
	if (index == m->self)
		r->heard_age_ms = 0;
	else if (x->heard_ms != 0 && p->now - x->heard_ms < MEMBERSHIP_AGE_NEVER)
		r->heard_age_ms = (uint16_t)(p->now - x->heard_ms);
	const struct membership_case *c = judge_case(p->m, index, false);
	if (index == p->to && c && c->accused_state != 0) {
		r->state = c->accused_state;
		r->own = false;
		r->agreed = 0;
		r->generation = c->accused_generation;
		r->incarnation = c->accused_incarnation;
		r->boot_id = c->accused_boot_id;
		r->tagged = false;
		r->tags_hash = 0;
	}
	return true;
}

/* The list turns: what did not fit comes first next time. */
static void add_news(struct packet *p)
{
	struct membership *m = p->m;
	for (size_t n = m->news_count; n > 0; n--) {
		size_t index = m->news_first;
		struct member *x = &m->member[index];
		if (x->news_left > 0 && !add_record(p, index, x->news_tags))
			return;
		m->news_first = x->news_next;
		x->news_next = MEMBERSHIP_NONE;
		if (m->news_first == MEMBERSHIP_NONE)
			m->news_last = MEMBERSHIP_NONE;
		if (x->news_left > 0)
			x->news_left--;
		if (x->news_left == 0) {
			x->news = x->news_tags = false;
			m->news_count--;
			continue;
		}
		if (m->news_last == MEMBERSHIP_NONE)
			m->news_first = (uint16_t)index;
		else
			m->member[m->news_last].news_next = (uint16_t)index;
		m->news_last = (uint16_t)index;
	}
}

static void add_segment(struct packet *p, size_t segment)
{
	size_t first = segment * MEMBERSHIP_SEGMENT;
	for (size_t i = first; i < p->m->count && i < first + MEMBERSHIP_SEGMENT; i++)
		add_record(p, i, true);
}

static void add_digests(struct packet *p)
{
	struct membership *m = p->m;
	size_t segments = tell_segments(m);
	while (p->hb->digest_count < MEMBERSHIP_DIGESTS_MAX && p->hb->digest_count < segments) {
		m->digest_cursor = (uint16_t)((m->digest_cursor + 1u) % segments);
		p->hb->digest[p->hb->digest_count++] = (struct membership_digest){
			.segment = m->digest_cursor,
			.hash = tell_digest(m, m->digest_cursor),
		};
	}
}

static void add_everything(struct packet *p)
{
	struct membership *m = p->m;
	size_t start = (m->tick * 8 + p->to) % m->count; /* there may not be room for all */
	for (size_t n = 0; n < m->count; n++) {
		if (!add_record(p, (start + n) % m->count, true))
			return;
	}
}

/* Not the same ones first each time: there may not be room for all. */
static void add_tags(struct packet *p)
{
	struct membership_heartbeat *hb = p->hb;
	for (size_t n = 0; p->m->tags && n < hb->record_count; n++) {
		size_t i = (n + p->m->tick) % hb->record_count;
		struct membership_record *r = &hb->record[i];
		const struct member_tags *tags = &p->m->tags[r->index];
		if (!p->tags[i] || !r->tagged || r->tags_hash == 0 || tags->bytes == 0 ||
		    p->m->member[r->index].tags_missing || p->room < 1u + tags->bytes)
			continue;
		r->tags_at = hb->text_bytes;
		r->tags_bytes = tags->bytes;
		memcpy(hb->text + hb->text_bytes, tags->text, tags->bytes);
		hb->text_bytes = (uint16_t)(hb->text_bytes + tags->bytes);
		p->room -= 1u + tags->bytes;
	}
}

void membership_fill(struct membership *m, const struct membership_action *send, uint64_t now_ms,
		     struct membership_heartbeat *hb)
{
	struct packet p = {
		.m = m, .hb = hb, .to = send->index, .room = MEMBERSHIP_ROOM_BYTES, .now = now_ms};
	const struct member *receiver = &m->member[p.to];
	const struct membership_case *c = judge_case(m, p.to, false);
	bool speaks_2 = receiver->version >= 2 && m->version >= 2;
	hb->reply = send->reply;
	hb->ask_count = send->ask_count;
	hb->nack_count = speaks_2 ? send->nack_count : 0;
	hb->digest_count = hb->record_count = 0;
	hb->text_bytes = 0;
	memcpy(hb->ask, send->ask, sizeof(hb->ask));
	memcpy(hb->nack, send->nack, sizeof(hb->nack));

	bool strange = receiver->state != MEMBER_ALIVE;
	if (strange || (c && c->accused_state != 0) || m->leaving_ms != 0)
		add_record(&p, p.to, false);
	if (send->full || strange || m->leaving_ms != 0)
		add_record(&p, m->self, true);
	for (size_t i = 0; i < send->about_count; i++)
		add_record(&p, send->about[i], false);
	add_news(&p);
	if (send->segment != MEMBERSHIP_NONE)
		add_segment(&p, send->segment);
	if (send->full || (send->digest && !speaks_2))
		add_everything(&p);
	if (send->digest && speaks_2)
		add_digests(&p);
	add_tags(&p);
}
