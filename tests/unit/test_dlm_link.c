/* Messages between the DLM control processes, and the connection that carries them, on two loopback
 * addresses. */
#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include <cmocka.h>

#include "services/dlm/link.h"
#include "tests/unit/own_network.h"

enum { PATIENCE_MS = 60000 };

static struct wire_message sample(void)
{
	struct wire_message m = {.kind = WIRE_VIEW, .from = 2, .sequence = 7, .want = true};
	m.view = (struct view){0x123456789abcu, VIEW_STOP, VIEW_LOW, VIEW_LOW | VIEW_HIGH};
	memset(m.boot, 0x11, sizeof(m.boot));
	memset(m.nonce, 0x22, sizeof(m.nonce));
	memset(m.echo, 0x33, sizeof(m.echo));
	strcpy(m.lockspace, "DD33F1929F4D48798DED8282311764A6");
	return m;
}

static void test_round_trip(void **state)
{
	struct wire_message m = sample(), back;
	uint8_t bytes[WIRE_BYTES];
	(void)state;
	wire_encode(bytes, &m);
	assert_true(wire_decode(&back, bytes));
	assert_int_equal(back.view.number, m.view.number);
	assert_int_equal(back.view.phase, m.view.phase);
	assert_int_equal(back.view.base, m.view.base);
	assert_int_equal(back.view.members, m.view.members);
	assert_true(back.want);
	assert_int_equal(back.from, 2);
	assert_int_equal(back.sequence, 7);
	assert_string_equal(back.lockspace, m.lockspace);
	assert_memory_equal(back.boot, m.boot, sizeof(m.boot));
	assert_memory_equal(back.nonce, m.nonce, sizeof(m.nonce));
	assert_memory_equal(back.echo, m.echo, sizeof(m.echo));
}

static void test_bad_messages(void **state)
{
	static const struct {
		int line;
		size_t offset;
		uint8_t value;
	} rows[] = {
		{__LINE__, 0, 0},	   {__LINE__, 4, 2},	 /* magic, version */
		{__LINE__, 5, 0},	   {__LINE__, 5, 4},	 /* kind */
		{__LINE__, 5, WIRE_HELLO},			 /* a view in a greeting */
		{__LINE__, 64, 0xff},				 /* number */
		{__LINE__, 72, 0},	   {__LINE__, 72, 3},	 /* phase */
		{__LINE__, 73, 4},	   {__LINE__, 74, 0xff}, /* base, members */
		{__LINE__, 75, 4},				 /* want */
		{__LINE__, 77, 1},	   {__LINE__, 150, 1},	 /* reserved */
		{__LINE__, 80, 0},	   {__LINE__, 81, '/'},
		{__LINE__, 81, '.'},  /* lockspace */
		{__LINE__, 140, 'A'}, /* after its end */
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_message m = sample(), back;
		uint8_t bytes[WIRE_BYTES];
		wire_encode(bytes, &m);
		bytes[rows[i].offset] = rows[i].value;
		if (wire_decode(&back, bytes))
			fail_msg("line %d", rows[i].line);
	}
}

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct pair {
	struct cluster_node node[2];
	uint8_t secret[2][KEY_BYTES];
	struct link link[2];
};

static void make_pair(struct pair *p, bool wrong_key)
{
	memset(p, 0, sizeof(*p));
	for (int i = 0; i < 2; i++) {
		char address[32];
		struct cluster_node *n = &p->node[i];
		snprintf(n->name, sizeof(n->name), "data%d", i + 1);
		snprintf(address, sizeof(address), "127.77.%d.%d", (int)(getpid() % 250) + 1,
			 i + 1);
		inet_pton(AF_INET, address, &n->address.address);
		n->id = (uint16_t)(i + 1);
		crypto_box_keypair(n->key[0], p->secret[i]);
		n->key_count = 1;
	}
	if (wrong_key)
		p->secret[1][3] ^= 1;
	for (int i = 0; i < 2; i++) {
		uint8_t boot[WIRE_BOOT_BYTES];
		memset(boot, 0x40 + i, sizeof(boot));
		assert_int_equal(
			link_open(&p->link[i], &p->node[i], &p->node[!i], p->secret[i], boot), 0);
	}
}

/* Runs both ends until one has the event, or for `ms`. */
static bool run_until(struct pair *p, int at, enum link_event wanted, struct wire_message *message,
		      unsigned ms)
{
	const uint64_t end = now_ms() + ms;

	while (now_ms() < end) {
		for (int i = 0; i < 2; i++) {
			struct wire_message m;
			enum link_event event;
			while ((event = link_step(&p->link[i], now_ms(), &m)) != LINK_NOTHING) {
				if (message && event == LINK_VIEW)
					*message = m;
				if (i == at && event == wanted)
					return true;
			}
		}
		struct pollfd fds[2 * LINK_POLL_FDS];
		int t0, t1;
		size_t n = link_poll(&p->link[0], fds, now_ms(), &t0);
		n += link_poll(&p->link[1], fds + n, now_ms(), &t1);
		poll(fds, (nfds_t)n, t0 == 0 || t1 == 0 ? 0 : 20);
	}
	return false;
}

static void close_pair(struct pair *p)
{
	link_close(&p->link[0]);
	link_close(&p->link[1]);
}

static void test_greeting_and_views(void **state)
{
	struct pair p;
	struct view_machine machine;
	struct wire_message got = {0};
	const struct wire_message m = sample();
	(void)state;

	make_pair(&p, false);
	assert_true(run_until(&p, 0, LINK_CONFIRMED, NULL, PATIENCE_MS));
	if (p.link[1].state != LINK_UP)
		assert_true(run_until(&p, 1, LINK_CONFIRMED, NULL, PATIENCE_MS));
	assert_int_equal(p.link[0].peer_boot[0], 0x41);
	assert_int_equal(p.link[1].peer_boot[0], 0x40);
	view_init(&machine, VIEW_LOW, VIEW_HIGH);
	view_resume(&machine, &m.view, true);
	link_show(&p.link[0], m.lockspace, &machine);
	assert_true(run_until(&p, 1, LINK_VIEW, &got, PATIENCE_MS));
	assert_int_equal(got.view.number, m.view.number);
	assert_string_equal(got.lockspace, m.lockspace);
	assert_true(got.want && !got.halted);

	/* One end breaks off: both are told, and they meet again. */
	link_break(&p.link[1], "test");
	assert_true(run_until(&p, 0, LINK_LOST, NULL, PATIENCE_MS));
	assert_true(run_until(&p, 0, LINK_CONFIRMED, NULL, PATIENCE_MS));
	close_pair(&p);
}

/* Without the node's key nobody gets as far as being believed. */
static void test_wrong_key(void **state)
{
	struct pair p;
	(void)state;
	make_pair(&p, true);
	assert_false(run_until(&p, 0, LINK_CONFIRMED, NULL, 1500));
	assert_int_not_equal(p.link[1].state, LINK_UP);
	close_pair(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_bad_messages),
		cmocka_unit_test(test_greeting_and_views),
		cmocka_unit_test(test_wrong_key),
	};
	own_network();
	return cmocka_run_group_tests_name("dlm_link", tests, NULL, NULL);
}
