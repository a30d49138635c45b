/* Packets: their layout, before they are sealed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/gossip/wire.h"

static const uint64_t ids[] = {0x1111111111111111, 0x2222222222222222, 0x3333333333333333};
static const struct wire_table table = {.count = 3, .id = ids};

static const char tags_text[] = "role=data zone=a";
#define TAGS_BYTES (sizeof(tags_text) - 1)

static struct membership_heartbeat sample(void)
{
	static struct membership_heartbeat hb;
	memset(&hb, 0, sizeof(hb));
	hb.reply = true;
	hb.ask_count = 2;
	hb.ask[0] = 2;
	hb.ask[1] = 1;
	hb.nack_count = 1;
	hb.nack[0] = 1;
	hb.digest_count = 1;
	hb.digest[0] = (struct membership_digest){.segment = 3, .hash = 0xa1a2a3a4a5a6};
	hb.record_count = 3;
	hb.text_bytes = TAGS_BYTES;
	memcpy(hb.text, tags_text, TAGS_BYTES);
	for (uint16_t i = 0; i < 3; i++) {
		hb.record[i] = (struct membership_record){
			.index = i,
			.state = (uint8_t)(MEMBER_ALIVE + i),
			.own = i == 1,
			.heard_age_ms = (uint16_t)(i * 1000),
			.agreed = i == 1 ? 0x8001 : 0,
			.generation = 1u + i,
			.incarnation = 70000u + i,
			.boot_id = 0x0102030405060708u + i,
			.status = {.ready = i == 2,
				   .services = 9,
				   .services_ready = 7,
				   .services_failed = 2},
			.tagged = true,
			.tags_hash = i == 2 ? membership_tags_hash(tags_text, TAGS_BYTES) : i,
			.tags_bytes = i == 2 ? TAGS_BYTES : 0,
		};
	}
	return hb;
}

static size_t put_sample(uint8_t content[WIRE_CONTENT_MAX_BYTES], uint8_t version)
{
	struct membership_heartbeat hb = sample();
	struct wire_timing timing = {.stamp = 1, .echo = 2, .held_us = 3, .number = 0x0405};
	return wire_put_heartbeat(content, &table, version, &timing, &hb);
}

static void heartbeat_there_and_back(void **state)
{
	(void)state;
	static const size_t expected[] = {0, 16 + 2 * 8 + 3 * 36,
					  20 + 2 * 8 + 8 + 8 + 3 * 40 + 1 + TAGS_BYTES};
	for (uint8_t version = 1; version <= 2; version++) {
		uint8_t content[WIRE_CONTENT_MAX_BYTES], again[WIRE_CONTENT_MAX_BYTES];
		struct membership_heartbeat hb = sample(), got;
		struct wire_timing timing;
		size_t bytes = put_sample(content, version);
		assert_int_equal(bytes, expected[version]);
		assert_true(wire_get_heartbeat(content, bytes, &table, &timing, &got));
		assert_int_equal(wire_put_heartbeat(again, &table, version, &timing, &got), bytes);
		assert_memory_equal(again, content, bytes);
		assert_int_equal(got.ask[1], hb.ask[1]);
		assert_int_equal(got.record[2].incarnation, hb.record[2].incarnation);
		assert_int_equal(got.record[2].status.services_failed, 2);
		assert_true(got.record[1].own && got.record[2].status.ready && got.reply);
		assert_int_equal(timing.stamp, 1);
		assert_int_equal(timing.echo, 2);
		assert_int_equal(timing.held_us, 3);
		assert_int_equal(timing.numbered, version == 2);
		assert_int_equal(got.record[0].tagged, version == 2);
		assert_int_equal(got.nack_count, version == 2);
		assert_int_equal(got.digest_count, version == 2);
		if (version == 1)
			continue;
		assert_int_equal(timing.number, 0x0405);
		assert_int_equal(got.nack[0], 1);
		assert_int_equal(got.digest[0].segment, 3);
		assert_true(got.digest[0].hash == 0xa1a2a3a4a5a6);
		assert_int_equal(got.record[1].agreed, 0x8001);
		assert_int_equal(got.record[1].tags_hash, 1);
		assert_int_equal(got.record[2].tags_bytes, TAGS_BYTES);
		assert_memory_equal(got.text + got.record[2].tags_at, tags_text, TAGS_BYTES);
	}
}

static void unknown_ids_are_left_out(void **state)
{
	(void)state;
	uint8_t content[WIRE_CONTENT_MAX_BYTES];
	struct membership_heartbeat got;
	struct wire_timing timing;
	static const uint16_t by_id[] = {0, 1};
	const struct wire_table two[] = {{.count = 2, .id = ids},
					 {.count = 2, .id = ids, .by_id = by_id}};
	for (size_t i = 0; i < 2; i++) {
		for (uint8_t version = 1; version <= 2; version++) {
			size_t bytes = put_sample(content, version);
			assert_true(wire_get_heartbeat(content, bytes, &two[i], &timing, &got));
			assert_int_equal(got.ask_count, 1);
			assert_int_equal(got.ask[0], 1);
			assert_int_equal(got.record_count, 2);
			assert_int_equal(got.record[1].index, 1);
		}
	}
}

struct damage {
	size_t at;
	uint8_t value;
};

/* One field out of range each, and every length that is too short or too long. */
static void refuse(uint8_t version, const struct damage *bad, size_t count)
{
	struct membership_heartbeat got;
	struct wire_timing timing;
	uint8_t content[WIRE_CONTENT_MAX_BYTES] = {0}, damaged[WIRE_CONTENT_MAX_BYTES + 1] = {0};
	size_t bytes = put_sample(content, version);
	for (size_t i = 0; i < count; i++) {
		memcpy(damaged, content, bytes);
		damaged[bad[i].at] = bad[i].value;
		if (wire_get_heartbeat(damaged, bytes, &table, &timing, &got))
			fail_msg("taken: byte %zu = %u", bad[i].at, bad[i].value);
	}
	for (size_t other = 0; other <= sizeof(damaged); other++) {
		memcpy(damaged, content, bytes);
		if (other != bytes && wire_get_heartbeat(damaged, other, &table, &timing, &got))
			fail_msg("taken: version %u, %zu bytes of %zu", version, other, bytes);
	}
}

static void malformed_heartbeats_are_refused(void **state)
{
	(void)state;
	static const struct damage bad_1[] = {
		{12, 2},	 {13, 5},	 {13, 3},	{14, 33},      {14, 2},
		{15, 1},	 {15, 2},	 {32 + 24, 0},	{32 + 24, 5},  {32 + 25, 4},
		{32 + 16, 0x80}, {32 + 20, 255}, {32 + 31, 10}, {32 + 33, 10}, {32 + 35, 1},
	};
	/* 20 head, 16 questions, 8 no, 8 digest: the records start at 52; the tags' length is at
	 * 52 + 3 * 40. */
	static const struct damage bad_2[] = {
		{12, 2},	   {13, 5},	    {13, 3},	       {14, 33},
		{14, 2},	   {14, 4},	    {15, 1},	       {15, 3},
		{15, 0},	   {18, 5},	    {18, 2},	       {19, 3},
		{19, 0},	   {52 + 24, 0},    {52 + 24, 5},      {52 + 25, 8},
		{52 + 25, 4},	   {52 + 16, 0x80}, {52 + 20, 255},    {52 + 31, 10},
		{52 + 33, 10},	   {52 + 35, 1},    {52 + 80 + 25, 1}, {52 + 120, 0},
		{52 + 120, 1},	   {52 + 120, 255}, {52 + 121, '\n'},  {52 + 121, 'R'},
		{52 + 80 + 39, 1},
	};
	refuse(1, bad_1, sizeof(bad_1) / sizeof(bad_1[0]));
	refuse(2, bad_2, sizeof(bad_2) / sizeof(bad_2[0]));
}

static void a_version_for_both(void **state)
{
	(void)state;
	assert_int_equal(wire_common_version(2, 0), 1);
	assert_int_equal(wire_common_version(2, 1), 1);
	assert_int_equal(wire_common_version(1, 2), 1);
	assert_int_equal(wire_common_version(2, 2), 2);
	assert_int_equal(wire_common_version(2, 9), 2);
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
	} bad[] = {{0, 0},	    {1, 0}, {2, 0},  {3, 3},  {4, 0}, {4, 5},
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heartbeat_there_and_back),
		cmocka_unit_test(unknown_ids_are_left_out),
		cmocka_unit_test(malformed_heartbeats_are_refused),
		cmocka_unit_test(a_version_for_both),
		cmocka_unit_test(headers),
		cmocka_unit_test(ids_depend_on_both_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
