/* What the supervising process keeps of the gossip process's word, and tells those who follow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/control/serve_members.h"
#include "src/supervise/gossip_link.c"

static struct cluster cluster = {
	.name = "demo", .node_count = 3, .node = {{.name = "a"}, {.name = "b"}, {.name = "c"}}};
static unsigned news;

static void on_news(void)
{
	news++;
}

static int setup(void **state)
{
	(void)state;
	memset(&view, 0, sizeof(view));
	memset(&own, 0, sizeof(own));
	view.cluster = &cluster;
	view.self = &cluster.node[0];
	view.running = true;
	gossip_link_on_news(on_news);
	news = 0;
	return 0;
}

static struct gossip_message member(uint16_t index, uint8_t state, uint8_t change,
				    uint64_t sequence)
{
	struct gossip_message m;
	gossip_message_init(&m, GOSSIP_MEMBER);
	m.member.index = index;
	m.member.state = state;
	m.member.change = change;
	m.member.sequence = sequence;
	m.member.boot_id = state == GOSSIP_UNKNOWN ? 0 : 1;
	assert_true(gossip_message_valid(&m, sizeof(m), GOSSIP_FROM_PROCESS));
	return m;
}

static bool say_member(uint16_t index, uint8_t state, uint8_t change, uint64_t sequence)
{
	struct gossip_message m = member(index, state, change, sequence);
	if (!in_order(&m))
		return false;
	received(&m);
	return true;
}

static struct members_cursor cursor;
static struct control_record record;

static const char *next(void)
{
	memset(&record, 0, sizeof(record));
	if (!members_next(&cursor, &record))
		return "";
	members_advance(&cursor);
	assert_int_equal(record.type, CONTROL_EVENT_RECORD);
	return record.event.what;
}

static void skip_snapshot(void)
{
	for (unsigned i = 0; i < 3; i++) {
		assert_string_equal(next(), "now");
		assert_string_equal(record.event.member.name, cluster.node[i].name);
	}
}

static void all_is_told_in_order(void **state)
{
	(void)state;
	members_begin(&cursor);
	skip_snapshot();
	assert_string_equal(next(), "");
	assert_true(say_member(1, GOSSIP_ALIVE, GOSSIP_CHANGE_JOINED, 1));
	assert_true(say_member(2, GOSSIP_ALIVE, GOSSIP_CHANGE_JOINED, 2));
	assert_true(say_member(1, GOSSIP_SUSPECT, GOSSIP_CHANGE_SUSPECT, 3));
	assert_true(say_member(1, GOSSIP_DEAD, GOSSIP_CHANGE_DEAD, 4));
	assert_int_equal(news, 4);
	static const char *const what[] = {"joined", "joined", "suspect", "dead"};
	for (uint64_t i = 0; i < 4; i++) {
		assert_string_equal(next(), what[i]);
		assert_int_equal(record.event.number, i);
		assert_int_equal(record.event.missed, 0);
	}
	assert_string_equal(next(), "");
}

/* A number that was there already is no mistake of the way, but of the process. */
static void order_is_watched_over(void **state)
{
	(void)state;
	assert_true(say_member(1, GOSSIP_ALIVE, GOSSIP_CHANGE_JOINED, 2));
	assert_false(say_member(1, GOSSIP_DEAD, GOSSIP_CHANGE_DEAD, 2));
	assert_false(say_member(1, GOSSIP_DEAD, GOSSIP_CHANGE_DEAD, 1));
	struct gossip_message m;
	gossip_message_init(&m, GOSSIP_PEER);
	assert_false(in_order(&m)); /* nobody asked */
	gossip_message_init(&m, GOSSIP_PROGRESS);
	assert_true(in_order(&m));
	m.progress.serial = 1;
	assert_false(in_order(&m));
	own.asked = 1;
	assert_true(in_order(&m));
	received(&m);
	assert_false(in_order(&m));
}

static void a_gap_is_told(void **state)
{
	(void)state;
	members_begin(&cursor);
	skip_snapshot();
	assert_true(say_member(1, GOSSIP_ALIVE, GOSSIP_CHANGE_JOINED, 1));
	assert_true(say_member(1, GOSSIP_DEAD, GOSSIP_CHANGE_DEAD, 5));
	assert_string_equal(next(), "joined");
	assert_int_equal(record.event.missed, 0);
	assert_string_equal(next(), "dead");
	assert_int_equal(record.event.missed, 3);
}

static void who_is_too_slow_is_told_and_begins_anew(void **state)
{
	(void)state;
	members_begin(&cursor);
	skip_snapshot();
	for (uint64_t n = 1; n <= GOSSIP_EVENTS + 10; n++)
		assert_true(say_member(1, n % 2 ? GOSSIP_ALIVE : GOSSIP_DEAD,
				       n % 2 ? GOSSIP_CHANGE_JOINED : GOSSIP_CHANGE_DEAD, n));
	assert_string_equal(next(), "missed");
	assert_int_equal(record.event.missed, 10);
	assert_string_equal(record.event.member.name, "");
	skip_snapshot();
	assert_string_equal(next(), "");
	assert_true(say_member(2, GOSSIP_ALIVE, GOSSIP_CHANGE_JOINED, GOSSIP_EVENTS + 11));
	assert_string_equal(next(), "joined");
}

/* What happened while no process ran shows in what the next one says of how things are. */
static void a_new_process_tells_what_changed_meanwhile(void **state)
{
	(void)state;
	assert_true(say_member(1, GOSSIP_ALIVE, GOSSIP_CHANGE_JOINED, 1));
	assert_true(say_member(2, GOSSIP_SUSPECT, GOSSIP_CHANGE_SUSPECT, 2));
	members_begin(&cursor);
	skip_snapshot();
	running(false);
	own.sequence = 0;
	running(true);
	assert_true(say_member(0, GOSSIP_UNKNOWN, GOSSIP_CHANGE_NUMBERS, 0));
	assert_true(say_member(1, GOSSIP_ALIVE, GOSSIP_CHANGE_NUMBERS, 0));
	assert_true(say_member(2, GOSSIP_ALIVE, GOSSIP_CHANGE_NUMBERS, 0));
	assert_true(say_member(1, GOSSIP_LEFT_STATE, GOSSIP_CHANGE_LEFT, 1));
	assert_string_equal(next(), "stopped");
	assert_true(record.event.member.self);
	assert_string_equal(next(), "started");
	assert_string_equal(next(), "alive");
	assert_string_equal(record.event.member.name, "c");
	assert_string_equal(next(), "left");
	assert_string_equal(next(), "");
}

static void alarms(void **state)
{
	(void)state;
	char text[GOSSIP_ALARM_BYTES];
	members_alarm(text, sizeof(text));
	assert_string_equal(text, "");
	struct gossip_message m = member(1, GOSSIP_ALIVE, GOSSIP_CHANGE_CONFLICT, 0);
	m.member.conflict = GOSSIP_CONFLICT_ELSEWHERE;
	m.member.elsewhere = htonl(0x0a4d0063);
	assert_true(gossip_message_valid(&m, sizeof(m), GOSSIP_FROM_PROCESS));
	received(&m);
	members_alarm(text, sizeof(text));
	assert_string_equal(text, "a machine at 10.77.0.99 has the key of b, and is not believed");
	m.member.conflict = GOSSIP_CONFLICT_NONE;
	m.member.elsewhere = 0;
	received(&m);
	members_alarm(text, sizeof(text));
	assert_string_equal(text, "");
}

static void another_list_of_nodes(void **state)
{
	(void)state;
	static struct cluster shorter = {
		.name = "demo", .node_count = 2, .node = {{.name = "c"}, {.name = "a"}}};
	assert_true(say_member(2, GOSSIP_DEAD, GOSSIP_CHANGE_DEAD, 1));
	members_begin(&cursor);
	skip_snapshot();
	renumber(&shorter);
	view.cluster = &shorter;
	view.self = &shorter.node[1];
	assert_int_equal(view.member[0].said.state, GOSSIP_DEAD);
	assert_int_equal(view.member[0].said.index, 0);
	assert_false(view.member[1].known);
	assert_string_equal(next(), "missed");
	assert_string_equal(next(), "now");
	assert_string_equal(record.event.member.name, "c");
	assert_string_equal(record.event.member.state, "dead");
	assert_string_equal(next(), "now");
	assert_string_equal(next(), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(all_is_told_in_order, setup),
		cmocka_unit_test_setup(order_is_watched_over, setup),
		cmocka_unit_test_setup(a_gap_is_told, setup),
		cmocka_unit_test_setup(who_is_too_slow_is_told_and_begins_anew, setup),
		cmocka_unit_test_setup(a_new_process_tells_what_changed_meanwhile, setup),
		cmocka_unit_test_setup(alarms, setup),
		cmocka_unit_test_setup(another_list_of_nodes, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
