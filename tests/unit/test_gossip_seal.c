/* Sealing: the handshake, replays, floods, a key that changes, two of one name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "src/gossip/seal.h"

#define SECOND 1000000u

struct side {
	struct seal_self self;
	struct seal_peer peer; /* the other */
	uint8_t secret[GOSSIP_KEY_BYTES], public[GOSSIP_KEYS_MAX][GOSSIP_KEY_BYTES];
	size_t keys;
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
	assert_true(seal_self_init(&side->self, id, boot_id | 1, side->secret, side->public,
				   side->keys));
	assert_true(seal_peer_init(&side->peer, &side->self, other_id, other->public, other->keys));
}

static int setup(void **state)
{
	(void)state;
	assert_true(seal_start());
	crypto_box_keypair(a.public[0], a.secret);
	crypto_box_keypair(b.public[0], b.secret);
	a.keys = b.keys = 1;
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
	assert_true(seal_self_init(&b.self, 2, boot_id, b.secret, b.public, 1));
	assert_true(seal_peer_init(&b.peer, &b.self, 1, a.public, 1));
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
	assert_true(seal_self_init(&a.self, 1, a.self.boot_id, a.secret, a.public, 1));
	a.self.sequence = 0;
	assert_true(seal_peer_init(&a.peer, &a.self, 2, b.public, 1));
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
	assert_in_range(looked_at, SEAL_SESSION_RATE, 2 * SEAL_SESSION_RATE + 1);
	now += 3 * SECOND;
	bytes = say(&a, "x");
	assert_int_equal(take(&b, packet, bytes), 0);
}

/* Who does not see our packets knows no boot id: he can take nothing from those who do. */
static void a_blind_flood_takes_nothing_from_the_session(void **state)
{
	(void)state;
	shake_hands(&a, &b);
	uint8_t forged[96] = {0};
	struct wire_header header = {.version = WIRE_VERSION,
				     .version_min = WIRE_VERSION_MIN,
				     .type = WIRE_HELLO,
				     .length = 96,
				     .sender = 1,
				     .sender_boot = 99};
	unsigned looked_at = 0;
	for (unsigned n = 0; n < 10000; n++) {
		header.type = n % 2 == 0 ? WIRE_HELLO : WIRE_HEARTBEAT;
		header.receiver_boot = n % 2 == 0 ? 0 : n;
		wire_put_header(forged, &header);
		looked_at += take(&b, forged, 96) == GOSSIP_DROP_SEAL + 1;
		assert_int_equal(opened.reply_bytes, 0);
		if (n % 500 != 0)
			continue;
		size_t bytes = say(&a, "x");
		assert_int_equal(take(&b, packet, bytes), 0);
	}
	assert_in_range(looked_at, 1, 2 * SEAL_BLIND_RATE + 1);
	/* Nor can he keep the two from meeting again, if the one he floods asks. */
	boot(&a, &b, 1, 2);
	now += SECOND;
	size_t bytes = seal_hello(&b.self, &b.peer, now, packet);
	for (unsigned n = 0; n < 100; n++) {
		uint8_t hello[WIRE_PACKET_MAX_BYTES];
		header.type = WIRE_HELLO;
		header.receiver_boot = 0;
		wire_put_header(forged, &header);
		memcpy(hello, packet, bytes);
		take(&b, forged, 96);
		memcpy(packet, hello, bytes);
	}
	assert_int_equal(take(&a, packet, bytes), 0);
	assert_int_equal(take(&b, opened.reply, 96), 0);
	assert_true(opened.contact);
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
	uint8_t weak[1][GOSSIP_KEY_BYTES] = {{0}};
	struct seal_self self;
	struct seal_peer peer;
	assert_false(seal_self_init(&self, 1, 1, a.secret, b.public, 1));
	assert_true(seal_self_init(&self, 1, 1, a.secret, a.public, 1));
	assert_false(seal_peer_init(&peer, &self, 2, weak, 1));
	/* A third one's key opens nothing. */
	struct side c = {.keys = 1};
	crypto_box_keypair(c.public[0], c.secret);
	boot(&c, &b, 1, 2);
	size_t bytes = seal_hello(&c.self, &c.peer, now, packet);
	assert_int_equal(take(&b, packet, bytes), GOSSIP_DROP_SEAL + 1);
	assert_int_equal(opened.reply_bytes, 0);
}

/* --- changing a key */

static void a_key_is_changed_without_a_break(void **state)
{
	(void)state;
	struct seal_peer before;
	uint8_t new_public[GOSSIP_KEY_BYTES], new_secret[GOSSIP_KEY_BYTES];
	crypto_box_keypair(new_public, new_secret);
	shake_hands(&a, &b);

	/* First everyone is told of a's new key; the session goes on. */
	memcpy(a.public[1], new_public, sizeof(new_public));
	a.keys = 2;
	before = b.peer;
	assert_true(seal_peer_init(&b.peer, &b.self, 1, a.public, 2));
	seal_peer_keep(&b.peer, &before);
	size_t bytes = say(&a, "old key");
	assert_int_equal(take(&b, packet, bytes), 0);

	/* Then a's process starts anew with the new secret, under the same boot. */
	assert_true(seal_self_init(&a.self, 1, a.self.boot_id, new_secret, a.public, 2));
	assert_true(seal_peer_init(&a.peer, &a.self, 2, b.public, 1));
	now += SECOND;
	uint64_t boot_id = b.peer.boot_id;
	shake_hands(&a, &b);
	assert_int_equal(b.peer.boot_id, boot_id);
	assert_int_equal(b.peer.conflict, SEAL_FINE);
	bytes = say(&a, "new key");
	assert_int_equal(take(&b, packet, bytes), 0);
	bytes = say(&b, "for the new key");
	assert_int_equal(take(&a, packet, bytes), 0);

	/* b starts anew: it must find out by itself which of both a has. */
	boot(&b, &a, 2, 1);
	for (unsigned n = 0; b.peer.boot_id == 0; n++) {
		assert_true(n < 2);
		now += SECOND;
		bytes = seal_hello(&b.self, &b.peer, now, packet);
		if (take(&a, packet, bytes) == 0)
			assert_int_equal(take(&b, opened.reply, 96), 0);
	}

	/* Last the old one is taken away; who has it, has nothing. */
	before = b.peer;
	assert_true(seal_peer_init(&b.peer, &b.self, 1, a.public + 1, 1));
	seal_peer_keep(&b.peer, &before);
	assert_int_equal(b.peer.boot_id, a.self.boot_id);
	struct side thief = a;
	assert_true(seal_self_init(&thief.self, 1, 77, a.secret, a.public, 2));
	assert_true(seal_peer_init(&thief.peer, &thief.self, 2, b.public, 1));
	bytes = seal_hello(&thief.self, &thief.peer, now, packet);
	assert_int_equal(take(&b, packet, bytes), GOSSIP_DROP_SEAL + 1);
}

static void a_revoked_key_ends_the_session(void **state)
{
	(void)state;
	shake_hands(&a, &b);
	struct seal_peer before = b.peer;
	assert_true(seal_peer_init(&b.peer, &b.self, 1, a.public, 0));
	seal_peer_keep(&b.peer, &before);
	assert_int_equal(b.peer.boot_id, 0);
	size_t bytes = say(&a, "still there");
	assert_int_equal(take(&b, packet, bytes), GOSSIP_DROP_SOURCE + 1);
	assert_int_equal(seal_hello(&b.self, &b.peer, now + SECOND, packet), 0);
	assert_int_equal(say(&b, "x"), 0);
}

/* --- two of one name */

static struct side c; /* has a's keys */

static int setup_twins(void **state)
{
	setup(state);
	shake_hands(&a, &b);
	now += SECOND;
	assert_int_equal(take(&b, packet, say(&a, "x")), 0);
	c = a;
	boot(&c, &b, 1, 2);
	return 0;
}

static void neither(void)
{
	assert_int_equal(b.peer.conflict, SEAL_TWINS);
	assert_int_equal(b.peer.boot_id, 0);
	assert_int_equal(say(&b, "x"), 0);
	assert_int_equal(take(&b, packet, say(&a, "x")), GOSSIP_DROP_CONFLICT + 1);
	assert_int_equal(take(&b, packet, say(&c, "x")), GOSSIP_DROP_CONFLICT + 1);
}

/* A boot that was followed by another proves to be alive: it has been all the time. */
static void a_boot_that_comes_back_is_a_second_one(void **state)
{
	(void)state;
	shake_hands(&c, &b);
	assert_int_equal(b.peer.conflict, SEAL_FINE);
	now += SECOND;
	size_t bytes = seal_hello(&b.self, &b.peer, now, packet);
	assert_int_equal(take(&a, packet, bytes), 0);
	uint8_t challenge[96];
	memcpy(challenge, opened.reply, 96);
	assert_int_equal(take(&b, challenge, 96), 0);
	assert_true(opened.conflict);
	assert_false(opened.contact);
	assert_int_equal(opened.reply_bytes, 0);
	neither();
}

/* Even when all that we send reaches the second one only: the first one's clock goes on. */
static void a_boot_that_goes_on_is_a_second_one(void **state)
{
	(void)state;
	shake_hands(&c, &b);
	for (unsigned n = 0;; n++) {
		assert_true(n < 20);
		now += SECOND / 5;
		int dropped = take(&b, packet, say(&a, "x"));
		if (opened.conflict)
			break;
		assert_int_equal(dropped, GOSSIP_DROP_BOOT + 1);
		assert_true(b.peer.stranger);
	}
	neither();
}

static void packets_under_way_make_no_conflict(void **state)
{
	(void)state;
	uint8_t late[30][WIRE_PACKET_MAX_BYTES];
	size_t bytes = 0;
	for (unsigned n = 0; n < 30; n++) {
		now += SECOND / 20;
		bytes = say(&a, "x");
		memcpy(late[n], packet, bytes);
	}
	uint8_t hello[96];
	now += SECOND;
	seal_hello(&a.self, &a.peer, now, hello);
	now += 10 * SECOND;
	shake_hands(&c, &b);
	for (unsigned n = 0; n < 30; n++) {
		now += SECOND;
		assert_int_equal(take(&b, late[n], bytes), GOSSIP_DROP_BOOT + 1);
	}
	assert_int_equal(take(&b, hello, 96), 0);
	assert_false(opened.conflict);
	/* An answer of the first one, sent again after the second one was believed. */
	boot(&b, &a, 2, 1);
	uint8_t answer[96];
	assert_int_equal(seal_hello(&a.self, &a.peer, now += SECOND, packet), 96);
	assert_int_equal(take(&b, packet, 96), 0);
	assert_int_equal(take(&a, opened.reply, 96), 0);
	memcpy(answer, opened.reply, 96);
	assert_int_equal(take(&b, answer, 96), 0);
	shake_hands(&c, &b);
	assert_int_equal(take(&b, answer, 96), GOSSIP_DROP_REPLAY + 1);
	assert_int_equal(b.peer.conflict, SEAL_FINE);
	assert_int_equal(b.peer.boot_id, c.self.boot_id);
}

/* What was seen of a clock last may have been on its way for two seconds already. */
static void a_late_packet_sets_no_clock(void **state)
{
	(void)state;
	uint8_t last[WIRE_PACKET_MAX_BYTES];
	size_t bytes = say(&a, "x");
	now += 19 * SECOND / 10;
	assert_int_equal(take(&b, packet, bytes), 0);
	bytes = say(&a, "the last one");
	memcpy(last, packet, bytes);
	uint64_t then = now;
	shake_hands(&c, &b);
	assert_true(now - then < 3 * SECOND / 2);
	assert_int_equal(take(&b, last, bytes), GOSSIP_DROP_BOOT + 1);
	assert_int_equal(b.peer.conflict, SEAL_FINE);
}

static void the_one_that_is_left_is_believed_again(void **state)
{
	(void)state;
	a_boot_that_goes_on_is_a_second_one(state);
	for (unsigned n = 0; n < 60; n++) {
		now += SECOND / 2;
		assert_false(seal_settle(&b.peer, now));
		neither();
	}
	/* What was sent before, sent again, keeps nobody alive. */
	uint8_t old[WIRE_PACKET_MAX_BYTES];
	size_t bytes = say(&a, "x"), old_bytes = bytes;
	memcpy(old, packet, bytes);
	unsigned n = 0;
	for (; !seal_settle(&b.peer, now); n++) {
		assert_true(n < 60);
		now += SECOND / 2;
		assert_int_equal(take(&b, packet, say(&c, "x")), GOSSIP_DROP_CONFLICT + 1);
		assert_int_equal(take(&b, old, old_bytes), GOSSIP_DROP_CONFLICT + 1);
	}
	assert_in_range(n, 15, 25);
	shake_hands(&b, &c);
	assert_int_equal(b.peer.boot_id, c.self.boot_id);
	assert_int_equal(b.peer.conflict, SEAL_FINE);
	/* And should the other one come back, it is known. */
	now += 60 * SECOND;
	assert_int_equal(take(&b, packet, say(&a, "x")), 0);
	assert_true(opened.conflict);
}

static void the_accused_hears_of_it_once(void **state)
{
	(void)state;
	a_boot_that_goes_on_is_a_second_one(state);
	now += SECOND;
	uint8_t hello[96];
	assert_int_equal(seal_hello(&b.self, &b.peer, now, hello), 96);
	assert_int_equal(take(&c, hello, 96), 0);
	assert_true(opened.accused);
	assert_int_equal(take(&c, hello, 96), 0);
	assert_false(opened.accused);
	uint8_t later[96];
	assert_int_equal(seal_hello(&b.self, &b.peer, now += SECOND, later), 96);
	/* Not from a boot that is over. */
	boot(&b, &a, 2, 1);
	shake_hands(&a, &b);
	assert_int_equal(take(&a, later, 96), 0);
	assert_false(opened.accused);
}

static void one_boot_with_two_clocks(void **state)
{
	(void)state;
	struct side copy = a;
	uint64_t behind = 60 * SECOND;
	copy.self.sequence = 0;
	for (unsigned n = 0; n < 10; n++) {
		now += SECOND / 5;
		assert_int_equal(take(&b, packet, say(&a, "x")), 0);
	}
	size_t bytes = seal_heartbeat(&copy.self, &copy.peer, (const uint8_t *)"y", 1, now - behind,
				      packet);
	assert_int_equal(take(&b, packet, bytes), GOSSIP_DROP_REPLAY + 1);
	assert_true(opened.old && !opened.newest);
	assert_int_equal(opened.content_bytes, 1);
	seal_old_but_fresh(&b.peer, now);
	assert_int_equal(b.peer.conflict, SEAL_CLONES);
	assert_int_equal(b.peer.boot_id, 0);
	/* It is over when nothing new was proven for a while; a machine that was set back is
	 * believed then. */
	now += SEAL_TWIN_MS * 1000;
	assert_true(seal_settle(&b.peer, now));
	uint8_t hello[96], answer[96];
	assert_int_equal(seal_hello(&b.self, &b.peer, now, hello), 96);
	assert_int_equal(seal_open(&copy.self, &copy.peer, hello, 96, now - behind, &opened), 0);
	memcpy(answer, opened.reply, 96);
	assert_int_equal(take(&b, answer, 96), 0);
	assert_true(opened.contact);
	bytes = seal_heartbeat(&copy.self, &copy.peer, (const uint8_t *)"y", 1, now - behind,
			       packet);
	assert_int_equal(take(&b, packet, bytes), 0);
	assert_true(opened.newest);
}

static void a_holder_of_the_key_elsewhere_is_found_out(void **state)
{
	(void)state;
	uint64_t present = b.peer.boot_id;
	uint8_t reply[96];
	assert_int_equal(seal_hello(&c.self, &c.peer, now, packet), 96);
	assert_int_equal(seal_open_elsewhere(&b.self, &b.peer, packet, 96, 5, now, &opened), 0);
	assert_false(opened.proven);
	memcpy(reply, opened.reply, 96);
	assert_int_equal(take(&c, reply, 96), 0);
	memcpy(reply, opened.reply, 96);
	/* The answer counts from where the question went. */
	assert_int_equal(seal_open_elsewhere(&b.self, &b.peer, reply, 96, 6, now, &opened),
			 GOSSIP_DROP_REPLAY + 1);
	assert_int_equal(take(&b, reply, 96), GOSSIP_DROP_REPLAY + 1);
	assert_int_equal(seal_open_elsewhere(&b.self, &b.peer, reply, 96, 5, now, &opened), 0);
	assert_true(opened.proven);
	assert_int_equal(opened.reply_bytes, 0);
	assert_int_equal(b.peer.boot_id, present);
	/* And nothing but that is listened to there. */
	size_t bytes = say(&c, "x");
	assert_int_equal(seal_open_elsewhere(&b.self, &b.peer, packet, bytes, 5, now, &opened),
			 GOSSIP_DROP_SOURCE + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(handshake_then_heartbeats, setup),
		cmocka_unit_test_setup(any_flipped_bit_is_noticed, setup),
		cmocka_unit_test_setup(replays_and_overtaking, setup),
		cmocka_unit_test_setup(an_earlier_boot_is_not_believed, setup),
		cmocka_unit_test_setup(handshakes_cannot_be_replayed, setup),
		cmocka_unit_test_setup(a_new_process_of_the_same_boot, setup),
		cmocka_unit_test_setup(floods_are_not_looked_at, setup),
		cmocka_unit_test_setup(a_blind_flood_takes_nothing_from_the_session, setup),
		cmocka_unit_test_setup(hellos_are_rare, setup),
		cmocka_unit_test_setup(keys_are_checked, setup),
		cmocka_unit_test_setup(a_key_is_changed_without_a_break, setup),
		cmocka_unit_test_setup(a_revoked_key_ends_the_session, setup),
		cmocka_unit_test_setup(a_boot_that_comes_back_is_a_second_one, setup_twins),
		cmocka_unit_test_setup(a_boot_that_goes_on_is_a_second_one, setup_twins),
		cmocka_unit_test_setup(packets_under_way_make_no_conflict, setup_twins),
		cmocka_unit_test_setup(a_late_packet_sets_no_clock, setup_twins),
		cmocka_unit_test_setup(the_one_that_is_left_is_believed_again, setup_twins),
		cmocka_unit_test_setup(the_accused_hears_of_it_once, setup_twins),
		cmocka_unit_test_setup(one_boot_with_two_clocks, setup_twins),
		cmocka_unit_test_setup(a_holder_of_the_key_elsewhere_is_found_out, setup_twins),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
