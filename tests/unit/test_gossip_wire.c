/* Packets: layout, sealing, the handshake, replays, floods; and the messages of the channel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "src/gossip/message.h"
#include "src/gossip/seal.h"
#include "src/gossip/wire.h"

#define SECOND 1000000u

/* --- layout */

static const uint64_t ids[] = {0x1111111111111111, 0x2222222222222222, 0x3333333333333333};
static const struct wire_table table = {.count = 3, .id = ids};

static struct membership_heartbeat sample(void)
{
	struct membership_heartbeat hb = {
		.reply = true, .ask_count = 2, .record_count = 3, .ask = {2, 1}};
	for (uint16_t i = 0; i < 3; i++) {
		hb.record[i] = (struct membership_record){
			.index = i,
			.state = (uint8_t)(MEMBER_ALIVE + i),
			.own = i == 1,
			.heard_age_ms = (uint16_t)(i * 1000),
			.generation = 1u + i,
			.incarnation = 70000u + i,
			.boot_id = 0x0102030405060708u + i,
			.status = {.ready = i == 2,
				   .services = 9,
				   .services_ready = 7,
				   .services_failed = 2},
		};
	}
	return hb;
}

static size_t put_sample(uint8_t content[WIRE_CONTENT_MAX_BYTES])
{
	struct membership_heartbeat hb = sample();
	struct wire_timing timing = {.stamp = 1, .echo = 2, .held_us = 3};
	return wire_put_heartbeat(content, &table, &timing, &hb);
}

static void heartbeat_there_and_back(void **state)
{
	(void)state;
	uint8_t content[WIRE_CONTENT_MAX_BYTES];
	struct membership_heartbeat hb = sample(), got;
	struct wire_timing timing;
	size_t bytes = put_sample(content);
	assert_int_equal(bytes, 16 + 2 * 8 + 3 * 36);
	assert_true(wire_get_heartbeat(content, bytes, &table, &timing, &got));
	uint8_t again[WIRE_CONTENT_MAX_BYTES];
	assert_int_equal(wire_put_heartbeat(again, &table, &timing, &got), bytes);
	assert_memory_equal(again, content, bytes);
	assert_int_equal(got.ask[1], hb.ask[1]);
	assert_int_equal(got.record[2].incarnation, hb.record[2].incarnation);
	assert_int_equal(got.record[2].status.services_failed, 2);
	assert_true(got.record[1].own && got.record[2].status.ready && got.reply);
	assert_int_equal(timing.stamp, 1);
	assert_int_equal(timing.echo, 2);
	assert_int_equal(timing.held_us, 3);
}

static void unknown_ids_are_left_out(void **state)
{
	(void)state;
	uint8_t content[WIRE_CONTENT_MAX_BYTES];
	struct membership_heartbeat got;
	struct wire_timing timing;
	const struct wire_table two = {.count = 2, .id = ids};
	size_t bytes = put_sample(content);
	assert_true(wire_get_heartbeat(content, bytes, &two, &timing, &got));
	assert_int_equal(got.ask_count, 1);
	assert_int_equal(got.record_count, 2);
}

static void malformed_heartbeats_are_refused(void **state)
{
	(void)state;
	/* offset in the content, value: one field out of range each */
	static const struct {
		size_t at;
		uint8_t value;
	} bad[] = {
		{12, 2},	{13, 5},       {13, 3},	      {14, 33},	    {14, 2},
		{15, 1},	{32 + 24, 0},  {32 + 24, 5},  {32 + 25, 4}, {32 + 16, 0x80},
		{32 + 20, 255}, {32 + 31, 10}, {32 + 33, 10}, {32 + 35, 1},
	};
	struct membership_heartbeat got;
	struct wire_timing timing;
	uint8_t content[WIRE_CONTENT_MAX_BYTES], damaged[WIRE_CONTENT_MAX_BYTES];
	size_t bytes = put_sample(content);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memcpy(damaged, content, bytes);
		damaged[bad[i].at] = bad[i].value;
		if (wire_get_heartbeat(damaged, bytes, &table, &timing, &got))
			fail_msg("taken: byte %zu = %u", bad[i].at, bad[i].value);
	}
	for (size_t less = 1; less <= bytes; less++)
		assert_false(wire_get_heartbeat(content, bytes - less, &table, &timing, &got));
	memcpy(damaged, content, bytes);
	memset(damaged + 32 + 8, 0, 8); /* boot 0 */
	assert_false(wire_get_heartbeat(damaged, bytes, &table, &timing, &got));
}

static void headers(void **state)
{
	(void)state;
	uint8_t packet[100] = {0};
	struct wire_header header = {.version = 1,
				     .version_min = 1,
				     .type = WIRE_HEARTBEAT,
				     .length = 100,
				     .sender = 5,
				     .sender_boot = 6,
				     .receiver_boot = 7,
				     .sequence = 8,
				     .salt = 9},
			   got;
	wire_put_header(packet, &header);
	assert_true(wire_get_header(packet, 100, &got));
	uint8_t again[WIRE_HEADER_BYTES];
	wire_put_header(again, &got);
	assert_memory_equal(again, packet, sizeof(again));
	assert_int_equal(got.sender, 5);
	assert_int_equal(got.sequence, 8);
	assert_false(wire_get_header(packet, 99, &got));

	static const struct {
		size_t at;
		uint8_t value;
	} bad[] = {{0, 0},	    {1, 0}, {2, 0},  {3, 2},  {4, 0}, {4, 5},
		   {4, WIRE_HELLO}, {5, 1}, {7, 99}, {23, 0}, {31, 0}};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		wire_put_header(packet, &header);
		packet[bad[i].at] = bad[i].value;
		if (wire_get_header(packet, 100, &got))
			fail_msg("taken: byte %zu = %u", bad[i].at, bad[i].value);
	}
	/* A newer one that still understands us is understood. */
	wire_put_header(packet, &header);
	packet[2] = 9;
	assert_true(wire_get_header(packet, 100, &got));
}

static void ids_depend_on_both_names(void **state)
{
	(void)state;
	assert_true(wire_id("demo", "web1") == wire_id("demo", "web1"));
	assert_true(wire_id("demo", "web1") != wire_id("demo", "web2"));
	assert_true(wire_id("demo", "web1") != wire_id("demow", "eb1"));
}

/* --- two that talk */

struct side {
	struct seal_self self;
	struct seal_peer peer; /* the other */
	uint8_t secret[GOSSIP_KEY_BYTES], public[GOSSIP_KEY_BYTES];
};

static struct side a, b;
static struct seal_opened opened;
static uint8_t packet[WIRE_PACKET_MAX_BYTES];
static uint64_t now;

static void boot(struct side *side, const struct side *other, uint64_t id, uint64_t other_id)
{
	uint64_t boot_id;
	randombytes_buf(&boot_id, sizeof(boot_id));
	side->self.sequence = 0;
	assert_true(seal_self_init(&side->self, id, boot_id | 1, side->secret, side->public));
	assert_true(seal_peer_init(&side->peer, &side->self, other_id, other->public));
}

static int setup(void **state)
{
	(void)state;
	assert_true(seal_start());
	crypto_box_keypair(a.public, a.secret);
	crypto_box_keypair(b.public, b.secret);
	now = 100 * SECOND;
	boot(&a, &b, 1, 2);
	boot(&b, &a, 2, 1);
	return 0;
}

static int take(struct side *to, const uint8_t *data, size_t bytes)
{
	now += 100;
	return seal_open(&to->self, &to->peer, data, bytes, now, &opened);
}

/* HELLO, CHALLENGE, ANSWER from `x`'s side; both know each other then. */
static void shake_hands(struct side *x, struct side *y)
{
	now += SECOND;
	size_t bytes = seal_hello(&x->self, &x->peer, now, packet);
	assert_int_equal(bytes, 96);
	assert_int_equal(take(y, packet, bytes), 0);
	assert_false(opened.contact);
	assert_int_equal(opened.reply_bytes, 96);
	memcpy(packet, opened.reply, 96);
	assert_int_equal(take(x, packet, 96), 0);
	assert_int_equal(opened.reply_bytes, 96);
	memcpy(packet, opened.reply, 96);
	assert_int_equal(take(y, packet, 96), 0);
	assert_int_equal(opened.reply_bytes, 0);
	assert_int_equal(x->peer.boot_id, y->self.boot_id);
	assert_int_equal(y->peer.boot_id, x->self.boot_id);
}

static size_t say(struct side *from, const char *text)
{
	return seal_heartbeat(&from->self, &from->peer, (const uint8_t *)text, strlen(text), now,
			      packet);
}

static void handshake_then_heartbeats(void **state)
{
	(void)state;
	assert_int_equal(say(&a, "too early"), 0);
	shake_hands(&a, &b);
	assert_true(opened.contact);
	for (unsigned n = 0; n < 100; n++) {
		now += 20000;
		size_t bytes = say(&a, "hello");
		assert_int_equal(take(&b, packet, bytes), 0);
		assert_true(opened.newest);
		assert_int_equal(opened.content_bytes, 5);
		assert_memory_equal(opened.content, "hello", 5);
		bytes = say(&b, "hi");
		assert_int_equal(take(&a, packet, bytes), 0);
	}
	/* Once more between the same boots: no news. */
	shake_hands(&b, &a);
	assert_false(opened.contact);
}

static void any_flipped_bit_is_noticed(void **state)
{
	(void)state;
	shake_hands(&a, &b);
	size_t bytes = say(&a, "some content");
	uint8_t damaged[WIRE_PACKET_MAX_BYTES];
	struct seal_peer before = b.peer;
	for (size_t bit = 0; bit < bytes * 8; bit++) {
		memcpy(damaged, packet, bytes);
		damaged[bit / 8] ^= (uint8_t)(1 << bit % 8);
		now += SECOND / 30;
		assert_int_not_equal(take(&b, damaged, bytes), 0);
		assert_int_equal(opened.reply_bytes, 0);
		assert_int_equal(b.peer.boot_id, before.boot_id);
		assert_memory_equal(b.peer.window, before.window, sizeof(before.window));
	}
	assert_int_equal(take(&b, packet, bytes), 0);
}

static void replays_and_overtaking(void **state)
{
	(void)state;
	uint8_t kept[SEAL_WINDOW + 10][WIRE_PACKET_MAX_BYTES];
	size_t bytes = 0;
	shake_hands(&a, &b);
	for (size_t i = 0; i < SEAL_WINDOW + 10; i++) {
		now += SECOND / 10;
		bytes = say(&a, "x");
		memcpy(kept[i], packet, bytes);
	}
	/* Overtaken by less than the window: taken, once. */
	assert_int_equal(take(&b, kept[3], bytes), 0);
	assert_true(opened.newest);
	assert_int_equal(take(&b, kept[1], bytes), 0);
	assert_false(opened.newest);
	assert_int_equal(take(&b, kept[1], bytes), GOSSIP_DROP_REPLAY + 1);
	assert_int_equal(take(&b, kept[3], bytes), GOSSIP_DROP_REPLAY + 1);
	for (size_t i = 4; i < SEAL_WINDOW + 10; i++) {
		now += SECOND / 10;
		assert_int_equal(take(&b, kept[i], bytes), 0);
	}
	/* Older than the window, though never seen. */
	assert_int_equal(take(&b, kept[0], bytes), GOSSIP_DROP_REPLAY + 1);
	assert_int_equal(take(&b, kept[2], bytes), GOSSIP_DROP_REPLAY + 1);
}

static void an_earlier_boot_is_not_believed(void **state)
{
	(void)state;
	shake_hands(&a, &b);
	uint8_t old_heartbeat[WIRE_PACKET_MAX_BYTES], old_hello[WIRE_PACKET_MAX_BYTES];
	size_t heartbeat_bytes = say(&a, "old");
	memcpy(old_heartbeat, packet, heartbeat_bytes);
	now += SECOND;
	size_t hello_bytes = seal_hello(&a.self, &a.peer, now, old_hello);

	uint8_t old_key[SEAL_KEY_BYTES];
	memcpy(old_key, b.peer.receive_key, sizeof(old_key));
	boot(&a, &b, 1, 2);
	shake_hands(&a, &b);
	assert_true(opened.contact);
	assert_memory_not_equal(b.peer.receive_key, old_key, sizeof(old_key));
	assert_memory_not_equal(b.peer.receive_key, b.peer.send_key, sizeof(old_key));
	uint64_t present = b.peer.boot_id;
	/* The old ones again: a challenge to the configured address for the one, nothing for the
	 * other; nobody can answer it. */
	assert_int_equal(take(&b, old_heartbeat, heartbeat_bytes), GOSSIP_DROP_BOOT + 1);
	assert_int_equal(take(&b, old_hello, hello_bytes), 0);
	assert_true(opened.reply_bytes <= hello_bytes);
	assert_false(opened.contact);
	assert_int_equal(b.peer.boot_id, present);
	memcpy(packet, opened.reply, opened.reply_bytes);
	assert_int_equal(take(&a, packet, opened.reply_bytes), GOSSIP_DROP_BOOT + 1);
	/* And what was sealed for an earlier boot of the receiver. */
	heartbeat_bytes = say(&a, "for the old b");
	memcpy(old_heartbeat, packet, heartbeat_bytes);
	boot(&b, &a, 2, 1);
	assert_int_equal(take(&b, old_heartbeat, heartbeat_bytes), GOSSIP_DROP_BOOT + 1);
}

/* The handshake's packets, recorded and sent again, convince nobody. */
static void handshakes_cannot_be_replayed(void **state)
{
	(void)state;
	uint8_t hello[96], challenge[96], answer[96];
	assert_int_equal(seal_hello(&a.self, &a.peer, now, packet), 96);
	memcpy(hello, packet, 96);
	assert_int_equal(take(&b, hello, 96), 0);
	memcpy(challenge, opened.reply, 96);
	assert_int_equal(take(&a, challenge, 96), 0);
	memcpy(answer, opened.reply, 96);
	assert_int_equal(take(&b, answer, 96), 0);

	/* b's process anew, same boot: the old answer has a cookie of the old process. */
	uint64_t boot_id = b.self.boot_id;
	assert_true(seal_self_init(&b.self, 2, boot_id, b.secret, b.public));
	assert_true(seal_peer_init(&b.peer, &b.self, 1, a.public));
	assert_int_equal(take(&b, answer, 96), GOSSIP_DROP_REPLAY + 1);
	assert_int_equal(b.peer.boot_id, 0);
	assert_int_equal(take(&a, challenge, 96), GOSSIP_DROP_REPLAY + 1);
	/* A cookie dies with time. */
	now += SECOND;
	shake_hands(&a, &b);
	assert_int_equal(seal_hello(&a.self, &a.peer, now += SECOND, packet), 96);
	assert_int_equal(take(&b, packet, 96), 0);
	assert_int_equal(take(&a, opened.reply, 96), 0);
	memcpy(answer, opened.reply, 96);
	now += 2 * SEAL_COOKIE_MS * 1000;
	assert_int_equal(take(&b, answer, 96), GOSSIP_DROP_REPLAY + 1);
	/* A challenge that answers no question of ours. */
	assert_int_equal(seal_hello(&a.self, &a.peer, now += SECOND, packet), 96);
	assert_int_equal(take(&b, packet, 96), 0);
	memcpy(challenge, opened.reply, 96);
	now += (SEAL_CHALLENGE_MS + 1) * 1000;
	assert_int_equal(take(&a, challenge, 96), GOSSIP_DROP_REPLAY + 1);
	assert_int_equal(seal_hello(&a.self, &a.peer, now += SECOND, packet), 96);
	assert_int_equal(take(&a, challenge, 96), GOSSIP_DROP_REPLAY + 1);
}

/* A heartbeat from before the process was replaced must not count again for the new one. */
static void a_new_process_of_the_same_boot(void **state)
{
	(void)state;
	shake_hands(&a, &b);
	size_t bytes = say(&b, "earlier");
	uint8_t earlier[WIRE_PACKET_MAX_BYTES];
	memcpy(earlier, packet, bytes);
	for (unsigned n = 0; n < 50; n++)
		say(&a, "spoken much");
	uint64_t before = a.self.sequence;
	assert_true(seal_self_init(&a.self, 1, a.self.boot_id, a.secret, a.public));
	a.self.sequence = 0;
	assert_true(seal_peer_init(&a.peer, &a.self, 2, b.public));
	now += SECOND;
	assert_int_equal(take(&a, earlier, bytes), GOSSIP_DROP_BOOT + 1);
	assert_true(a.peer.stranger);
	shake_hands(&a, &b);
	assert_int_equal(take(&a, earlier, bytes), GOSSIP_DROP_REPLAY + 1);
	bytes = say(&a, "y");
	assert_true(a.self.sequence > before);
	assert_int_equal(take(&b, packet, bytes), 0);
}

static void floods_are_not_looked_at(void **state)
{
	(void)state;
	shake_hands(&a, &b);
	now += SECOND;
	size_t bytes = say(&a, "x");
	packet[bytes - 1] ^= 1;
	unsigned looked_at = 0;
	for (unsigned n = 0; n < 10000; n++) {
		int dropped = seal_open(&b.self, &b.peer, packet, bytes, now + n * 100, &opened);
		looked_at += dropped == GOSSIP_DROP_SEAL + 1;
		assert_true(dropped == GOSSIP_DROP_SEAL + 1 || dropped == GOSSIP_DROP_FLOOD + 1);
	}
	assert_in_range(looked_at, SEAL_BUCKET, SEAL_BUCKET + SEAL_BUCKET_FILL + 1);
	now += 3 * SECOND;
	bytes = say(&a, "x");
	assert_int_equal(take(&b, packet, bytes), 0);
}

static void hellos_are_rare(void **state)
{
	(void)state;
	unsigned sent = 0;
	for (unsigned n = 0; n < 1000; n++)
		sent += seal_hello(&a.self, &a.peer, now + n * 1000, packet) != 0;
	assert_in_range(sent, 5, 6);
}

static void keys_are_checked(void **state)
{
	(void)state;
	uint8_t weak[GOSSIP_KEY_BYTES] = {0};
	struct seal_self self;
	struct seal_peer peer;
	assert_false(seal_self_init(&self, 1, 1, a.secret, b.public));
	assert_true(seal_self_init(&self, 1, 1, a.secret, a.public));
	assert_false(seal_peer_init(&peer, &self, 2, weak));
	/* A third one's key opens nothing. */
	struct side c;
	crypto_box_keypair(c.public, c.secret);
	boot(&c, &b, 1, 2);
	size_t bytes = seal_hello(&c.self, &c.peer, now, packet);
	assert_int_equal(take(&b, packet, bytes), GOSSIP_DROP_SEAL + 1);
	assert_int_equal(opened.reply_bytes, 0);
}

/* --- messages of the channel */

static void messages(void **state)
{
	(void)state;
	struct gossip_message m;
	gossip_message_init(&m, GOSSIP_SELF);
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_TO_PROCESS));
	m.self = (struct gossip_self){
		.index = 1, .node_count = 2, .boot_id = 1, .cluster = "demo", .secret_key = {1}};
	assert_true(gossip_message_valid(&m, sizeof(m), GOSSIP_TO_PROCESS));
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_FROM_PROCESS));
	assert_false(gossip_message_valid(&m, sizeof(m) - 1, GOSSIP_TO_PROCESS));
	m.self.index = 2;
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_TO_PROCESS));
	m.self.index = 0;
	m.bytes[127] = 1;
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_TO_PROCESS));
	m.bytes[127] = 0;
	strcpy(m.self.cluster, "De");
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_TO_PROCESS));
	memset(m.self.cluster, 'a', sizeof(m.self.cluster));
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_TO_PROCESS));

	gossip_message_init(&m, GOSSIP_MEMBER);
	assert_true(gossip_message_valid(&m, sizeof(m), GOSSIP_FROM_PROCESS));
	m.member.state = GOSSIP_LEFT_STATE + 1;
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_FROM_PROCESS));
	gossip_message_init(&m, GOSSIP_READY);
	m.ready = (struct gossip_ready){.services = 1, .services_ready = 2};
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_TO_PROCESS));
	gossip_message_init(&m, GOSSIP_LEAVE);
	m.magic ^= 1;
	assert_false(gossip_message_valid(&m, sizeof(m), GOSSIP_TO_PROCESS));
	assert_string_equal(gossip_state_name(GOSSIP_SUSPECT), "suspect");
	assert_string_equal(gossip_state_name(77), "unknown");
	assert_int_equal(GOSSIP_LEFT_STATE, MEMBER_LEFT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heartbeat_there_and_back),
		cmocka_unit_test(unknown_ids_are_left_out),
		cmocka_unit_test(malformed_heartbeats_are_refused),
		cmocka_unit_test(headers),
		cmocka_unit_test(ids_depend_on_both_names),
		cmocka_unit_test_setup(handshake_then_heartbeats, setup),
		cmocka_unit_test_setup(any_flipped_bit_is_noticed, setup),
		cmocka_unit_test_setup(replays_and_overtaking, setup),
		cmocka_unit_test_setup(an_earlier_boot_is_not_believed, setup),
		cmocka_unit_test_setup(handshakes_cannot_be_replayed, setup),
		cmocka_unit_test_setup(a_new_process_of_the_same_boot, setup),
		cmocka_unit_test_setup(floods_are_not_looked_at, setup),
		cmocka_unit_test_setup(hellos_are_rare, setup),
		cmocka_unit_test_setup(keys_are_checked, setup),
		cmocka_unit_test(messages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
