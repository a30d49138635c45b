#include "src/gossip/seal.h"

#include <sodium.h>
#include <string.h>

#include "src/gossip/twins.h"

#define US_PER_MS 1000u

_Static_assert(SEAL_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key");
_Static_assert(WIRE_SEAL_BYTES == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag");
_Static_assert(GOSSIP_KEY_BYTES == crypto_scalarmult_curve25519_BYTES, "key pair");

bool seal_start(void)
{
	return sodium_init() >= 0;
}

bool seal_self_init(struct seal_self *self, uint64_t id, uint64_t boot_id,
		    const uint8_t secret_key[GOSSIP_KEY_BYTES],
		    const uint8_t expected[][GOSSIP_KEY_BYTES], size_t count)
{
	uint64_t sequence = self->sequence;
	memset(self, 0, sizeof(*self));
	self->sequence = sequence;
	self->id = id;
	self->boot_id = boot_id;
	memcpy(self->secret_key, secret_key, sizeof(self->secret_key));
	randombytes_buf(self->cookie_key, sizeof(self->cookie_key));
	if (crypto_scalarmult_curve25519_base(self->public_key, secret_key) != 0)
		return false;
	for (size_t i = 0; i < count; i++)
		if (memcmp(self->public_key, expected[i], sizeof(self->public_key)) == 0)
			return true;
	return false;
}

static bool make_pair(struct seal_pair *pair, const struct seal_self *self,
		      const uint8_t public_key[GOSSIP_KEY_BYTES])
{
	static const char label[] = "supervisor gossip pair 1";
	uint8_t point[crypto_scalarmult_curve25519_BYTES];
	bool first = memcmp(self->public_key, public_key, GOSSIP_KEY_BYTES) < 0;

	memcpy(pair->public_key, public_key, sizeof(pair->public_key));
	if (crypto_scalarmult_curve25519(point, self->secret_key, public_key) != 0)
		return false;
	crypto_generichash_state state;
	crypto_generichash_init(&state, point, sizeof(point), sizeof(pair->shared));
	crypto_generichash_update(&state, (const uint8_t *)label, sizeof(label));
	crypto_generichash_update(&state, first ? self->public_key : public_key, GOSSIP_KEY_BYTES);
	crypto_generichash_update(&state, first ? public_key : self->public_key, GOSSIP_KEY_BYTES);
	crypto_generichash_final(&state, pair->shared, sizeof(pair->shared));
	sodium_memzero(point, sizeof(point));
	return true;
}

bool seal_peer_init(struct seal_peer *peer, const struct seal_self *self, uint64_t id,
		    const uint8_t public_key[][GOSSIP_KEY_BYTES], size_t count)
{
	memset(peer, 0, sizeof(*peer));
	peer->id = id;
	for (size_t i = 0; i < count && i < GOSSIP_KEYS_MAX; i++) {
		if (!make_pair(&peer->pair[i], self, public_key[i]))
			return false;
		peer->pair_count++;
	}
	return true;
}

void seal_peer_keep(struct seal_peer *peer, const struct seal_peer *before)
{
	struct seal_peer fresh = *peer;

	if (before->id != peer->id)
		return;
	*peer = *before;
	memcpy(peer->pair, fresh.pair, sizeof(peer->pair));
	peer->pair_count = fresh.pair_count;
	peer->hello_pair = 0;
	for (uint8_t i = 0; i < peer->pair_count; i++) {
		if (memcmp(peer->pair[i].public_key, before->pair[before->pair_at].public_key,
			   GOSSIP_KEY_BYTES) != 0)
			continue;
		peer->pair_at = i;
		return;
	}
	peer->boot_id = 0; /* it spoke with a key that is none of its own any more */
}

static void put64(uint8_t *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

/* One key a direction and a pair of boots. */
static void derive(uint8_t key[SEAL_KEY_BYTES], const struct seal_pair *pair, uint64_t sender,
		   uint64_t receiver, uint64_t sender_boot, uint64_t receiver_boot)
{
	uint8_t text[32];
	put64(text, sender);
	put64(text + 8, receiver);
	put64(text + 16, sender_boot);
	put64(text + 24, receiver_boot);
	crypto_generichash(key, SEAL_KEY_BYTES, text, sizeof(text), pair->shared,
			   sizeof(pair->shared));
}

static void make_nonce(uint8_t nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES],
		       const struct wire_header *header)
{
	put64(nonce, header->salt);
	put64(nonce + 8, header->sequence);
	put64(nonce + 16, header->sender_boot);
}

/* Fills in the rest of the header. out has room for header, content and tag. */
static size_t seal_packet(struct seal_self *self, const struct seal_peer *peer, uint8_t pair,
			  struct wire_header *header, const uint8_t *content, size_t content_bytes,
			  uint64_t now_us, uint8_t *out)
{
	size_t bytes = WIRE_HEADER_BYTES + content_bytes + WIRE_SEAL_BYTES;
	/* The clock keeps it growing when this process is replaced by another of the same boot. */
	self->sequence = now_us > self->sequence ? now_us : self->sequence + 1;
	header->version = WIRE_VERSION;
	header->version_min = WIRE_VERSION_MIN;
	header->length = (uint16_t)bytes;
	header->sender = self->id;
	header->sender_boot = self->boot_id;
	header->sequence = self->sequence;
	/* Should a machine be resumed twice from one snapshot, nonces still differ. */
	randombytes_buf(&header->salt, sizeof(header->salt));

	uint8_t nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES], key[SEAL_KEY_BYTES];
	if (header->type == WIRE_HEARTBEAT)
		memcpy(key, peer->send_key, sizeof(key));
	else
		derive(key, &peer->pair[pair], self->id, peer->id, self->boot_id,
		       header->receiver_boot);
	make_nonce(nonce, header);
	wire_put_header(out, header);
	crypto_aead_xchacha20poly1305_ietf_encrypt(out + WIRE_HEADER_BYTES, NULL, content,
						   content_bytes, out, WIRE_HEADER_BYTES, NULL,
						   nonce, key);
	sodium_memzero(key, sizeof(key));
	return bytes;
}

size_t seal_heartbeat(struct seal_self *self, struct seal_peer *peer, const uint8_t *content,
		      size_t content_bytes, uint64_t now_us, uint8_t out[WIRE_PACKET_MAX_BYTES])
{
	if (peer->boot_id == 0 ||
	    content_bytes > WIRE_PACKET_MAX_BYTES - WIRE_HEADER_BYTES - WIRE_SEAL_BYTES)
		return 0;
	struct wire_header header = {
		.type = WIRE_HEARTBEAT,
		.receiver_boot = peer->boot_id,
	};
	return seal_packet(self, peer, peer->pair_at, &header, content, content_bytes, now_us, out);
}

size_t seal_hello(struct seal_self *self, struct seal_peer *peer, uint64_t now_us,
		  uint8_t out[SEAL_HANDSHAKE_BYTES])
{
	uint8_t content[WIRE_HANDSHAKE_BYTES] = {0};
	struct wire_header header = {.type = WIRE_HELLO};
	if (peer->pair_count == 0 ||
	    (peer->hello_sent_us != 0 &&
	     now_us - peer->hello_sent_us < SEAL_HELLO_MS * US_PER_MS * 9 / 10))
		return 0;
	/* An open challenge stays, so that a late answer to it still counts. */
	if (peer->hello_us == 0 || now_us - peer->hello_us > SEAL_CHALLENGE_MS * US_PER_MS) {
		randombytes_buf(peer->challenge, sizeof(peer->challenge));
		peer->hello_us = now_us;
	}
	peer->hello_sent_us = now_us;
	memcpy(content, peer->challenge, sizeof(peer->challenge));
	content[WIRE_TOKEN_BYTES] = peer->conflict != SEAL_FINE;
	/* Which of its keys it has now, shows in its answer: each in turn. */
	peer->hello_pair = (uint8_t)((peer->hello_pair + 1) % peer->pair_count);
	return seal_packet(self, peer, peer->hello_pair, &header, content, sizeof(content), now_us,
			   out);
}

/*
 * Depends on nothing that is kept but the number of sessions so far, so a stored HELLO of an
 * earlier boot, sent again, costs one packet and no memory. `period` makes it die, and so does the
 * next session: what answers it afterwards was alive afterwards.
 */
static void make_cookie(uint8_t cookie[WIRE_TOKEN_BYTES], const struct seal_self *self,
			const struct seal_peer *peer, uint64_t boot_id, uint64_t elsewhere,
			uint64_t period)
{
	uint8_t text[40];
	put64(text, peer->id);
	put64(text + 8, boot_id);
	put64(text + 16, period);
	put64(text + 24, peer->sessions);
	put64(text + 32, elsewhere);
	crypto_generichash(cookie, WIRE_TOKEN_BYTES, text, sizeof(text), self->cookie_key,
			   sizeof(self->cookie_key));
}

static bool is_cookie(const uint8_t cookie[WIRE_TOKEN_BYTES], const struct seal_self *self,
		      const struct seal_peer *peer, uint64_t boot_id, uint64_t elsewhere,
		      uint64_t now_us)
{
	uint64_t period = now_us / (SEAL_COOKIE_MS * US_PER_MS);
	for (uint64_t ago = 0; ago < 2; ago++) {
		uint8_t expected[WIRE_TOKEN_BYTES];
		make_cookie(expected, self, peer, boot_id, elsewhere, period - ago);
		if (sodium_memcmp(expected, cookie, sizeof(expected)) == 0)
			return true;
	}
	return false;
}

/* One packet's worth from a bucket of a second's `rate`. */
static bool take_token(struct seal_bucket *bucket, uint64_t rate, uint64_t now_us)
{
	uint64_t passed_ms = (now_us - bucket->filled_us) / US_PER_MS;
	if (bucket->filled_us == 0 || passed_ms > 1000)
		passed_ms = 1000;
	if (passed_ms > 0) {
		bucket->milli += passed_ms * rate;
		if (bucket->milli > rate * 1000)
			bucket->milli = rate * 1000;
		bucket->filled_us = now_us;
	}
	if (bucket->milli < 1000)
		return false;
	bucket->milli -= 1000;
	return true;
}

/* By what its header claims to know; nothing but that is looked at before. */
static bool may_look(struct seal_self *self, struct seal_peer *peer, enum seal_class class,
		     uint64_t now_us)
{
	switch (class) {
	case SEAL_BLIND:
		return take_token(&peer->bucket[SEAL_BLIND], SEAL_BLIND_RATE, now_us) &&
		       take_token(&self->total, SEAL_TOTAL_RATE, now_us);
	case SEAL_SESSION:
		return take_token(&peer->bucket[SEAL_SESSION], SEAL_SESSION_RATE, now_us);
	default:
		return take_token(&peer->bucket[SEAL_KNOWING], SEAL_KNOWING_RATE, now_us);
	}
}

/* The clock's sequences have wide gaps, so the window keeps the numbers themselves, not bits. */
static bool is_replay(const struct seal_peer *peer, uint64_t sequence)
{
	if (sequence <= peer->floor)
		return true;
	for (size_t i = 0; i < SEAL_WINDOW; i++) {
		if (peer->window[i] == sequence)
			return true;
	}
	return sequence < peer->window[SEAL_WINDOW - 1];
}

/* True if it is the newest. */
static bool remember(struct seal_peer *peer, uint64_t sequence)
{
	size_t at = 0;
	while (peer->window[at] > sequence)
		at++;
	memmove(&peer->window[at + 1], &peer->window[at],
		(SEAL_WINDOW - 1 - at) * sizeof(peer->window[0]));
	peer->window[at] = sequence;
	return at == 0;
}

static void begin_session(const struct seal_self *self, struct seal_peer *peer, uint8_t pair,
			  uint64_t now_us, struct seal_opened *opened)
{
	const struct wire_header *header = &opened->header;
	peer->hello_us = 0;
	peer->stranger = false;
	if (peer->boot_id == header->sender_boot && peer->pair_at == pair)
		return;
	if (peer->boot_id != header->sender_boot &&
	    twins_returned(peer, header->sender_boot, header->sequence, now_us)) {
		opened->conflict = true;
		return;
	}
	if (peer->boot_id != header->sender_boot)
		twins_supersede(peer, now_us);
	peer->boot_id = header->sender_boot;
	peer->pair_at = pair;
	peer->sessions++;
	peer->since_us = peer->newest_us = now_us;
	derive(peer->send_key, &peer->pair[pair], self->id, peer->id, self->boot_id, peer->boot_id);
	derive(peer->receive_key, &peer->pair[pair], peer->id, self->id, peer->boot_id,
	       self->boot_id);
	/* What this boot said to an earlier process of ours must not be said again to us. */
	peer->floor = header->sequence;
	memset(peer->window, 0, sizeof(peer->window));
	opened->contact = true;
}

static void reply_with(struct seal_self *self, struct seal_peer *peer, uint8_t pair, uint8_t type,
		       const uint8_t content[WIRE_HANDSHAKE_BYTES], uint64_t now_us,
		       struct seal_opened *opened)
{
	struct wire_header header = {.type = type, .receiver_boot = opened->header.sender_boot};
	opened->reply_bytes = seal_packet(self, peer, pair, &header, content, WIRE_HANDSHAKE_BYTES,
					  now_us, opened->reply);
}

static void on_hello(struct seal_self *self, struct seal_peer *peer, uint8_t pair,
		     uint64_t elsewhere, uint64_t now_us, struct seal_opened *opened)
{
	uint8_t reply[WIRE_HANDSHAKE_BYTES];
	/* An accusation counts from the present boot alone, and once. */
	opened->accused = opened->content[WIRE_TOKEN_BYTES] != 0 && elsewhere == 0 &&
			  opened->header.sender_boot == peer->boot_id &&
			  opened->header.sequence > peer->floor &&
			  opened->header.sequence > peer->window[0];
	if (opened->accused)
		remember(peer, opened->header.sequence);
	memcpy(reply, opened->content, WIRE_TOKEN_BYTES);
	make_cookie(reply + WIRE_TOKEN_BYTES, self, peer, opened->header.sender_boot, elsewhere,
		    now_us / (SEAL_COOKIE_MS * US_PER_MS));
	reply_with(self, peer, pair, WIRE_CHALLENGE, reply, now_us, opened);
}

static int on_challenge(struct seal_self *self, struct seal_peer *peer, uint8_t pair,
			uint64_t now_us, struct seal_opened *opened)
{
	if (peer->hello_us == 0 || now_us - peer->hello_us > SEAL_CHALLENGE_MS * US_PER_MS ||
	    sodium_memcmp(opened->content, peer->challenge, WIRE_TOKEN_BYTES) != 0)
		return GOSSIP_DROP_REPLAY + 1;
	begin_session(self, peer, pair, now_us, opened);
	if (opened->conflict)
		return 0;
	uint8_t reply[WIRE_HANDSHAKE_BYTES] = {0};
	memcpy(reply, opened->content + WIRE_TOKEN_BYTES, WIRE_TOKEN_BYTES);
	reply_with(self, peer, pair, WIRE_ANSWER, reply, now_us, opened);
	return 0;
}

static int on_answer(struct seal_self *self, struct seal_peer *peer, uint8_t pair, uint64_t now_us,
		     struct seal_opened *opened)
{
	if (!is_cookie(opened->content, self, peer, opened->header.sender_boot, 0, now_us))
		return GOSSIP_DROP_REPLAY + 1;
	begin_session(self, peer, pair, now_us, opened);
	return 0;
}

static bool open_with(const uint8_t key[SEAL_KEY_BYTES], const uint8_t *packet, size_t bytes,
		      struct seal_opened *opened)
{
	uint8_t nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES];
	unsigned long long content_bytes = 0;
	make_nonce(nonce, &opened->header);
	int failed = crypto_aead_xchacha20poly1305_ietf_decrypt(
		opened->content, &content_bytes, NULL, packet + WIRE_HEADER_BYTES,
		bytes - WIRE_HEADER_BYTES, packet, WIRE_HEADER_BYTES, nonce, key);
	opened->content_bytes = (size_t)content_bytes;
	return failed == 0;
}

/* The pair's key for the boots that the header claims, by each of the peer's long-term keys; the
 * seal then proves the header, too. False: none opens it. */
static bool open_seal(const struct seal_self *self, const struct seal_peer *peer,
		      const uint8_t *packet, size_t bytes, struct seal_opened *opened,
		      uint8_t *pair)
{
	const struct wire_header *header = &opened->header;
	bool good = false;
	for (uint8_t i = 0; !good && i < peer->pair_count; i++) {
		uint8_t key[SEAL_KEY_BYTES];
		derive(key, &peer->pair[i], peer->id, self->id, header->sender_boot,
		       header->receiver_boot);
		good = open_with(key, packet, bytes, opened);
		sodium_memzero(key, sizeof(key));
		*pair = i;
	}
	return good;
}

/* A heartbeat between the present boots. */
static int open_present(struct seal_self *self, struct seal_peer *peer, const uint8_t *packet,
			size_t bytes, uint64_t now_us, struct seal_opened *opened)
{
	uint64_t sequence = opened->header.sequence;
	uint8_t pair;
	/* What was there already is known by its number: no flood of it uses anything up. */
	opened->old =
		peer->window[0] > sequence && peer->window[0] - sequence > SEAL_LATE_MS * US_PER_MS;
	if (is_replay(peer, sequence) && !opened->old)
		return GOSSIP_DROP_REPLAY + 1;
	if (!may_look(self, peer, opened->old ? SEAL_KNOWING : SEAL_SESSION, now_us))
		return GOSSIP_DROP_FLOOD + 1;
	if (!open_with(peer->receive_key, packet, bytes, opened)) {
		/* Its key was changed, and its new process has not shaken hands with us yet. */
		peer->stranger |=
			peer->pair_count > 1 && open_seal(self, peer, packet, bytes, opened, &pair);
		return GOSSIP_DROP_SEAL + 1;
	}
	if (opened->old)
		return GOSSIP_DROP_REPLAY + 1;
	opened->newest = remember(peer, sequence);
	if (opened->newest)
		peer->newest_us = now_us;
	return 0;
}

/* Whatever is well sealed, and not from the present boot, may tell of a second one. */
static int open_other(struct seal_self *self, struct seal_peer *peer, uint8_t pair, uint64_t now_us,
		      struct seal_opened *opened)
{
	const struct wire_header *header = &opened->header;
	if (peer->conflict != SEAL_FINE) {
		twins_seen(peer, header->sender_boot, header->sequence, now_us);
		return GOSSIP_DROP_CONFLICT + 1;
	}
	if (header->sender_boot != peer->boot_id &&
	    twins_stray(peer, header->sender_boot, header->sequence, now_us)) {
		opened->conflict = true;
		return 0;
	}
	if (header->type == WIRE_HEARTBEAT) {
		/* It or we were restarted, and the handshake has not come this way yet. */
		peer->stranger = true;
		return GOSSIP_DROP_BOOT + 1;
	}
	if (opened->content_bytes != WIRE_HANDSHAKE_BYTES)
		return GOSSIP_DROP_CONTENT + 1;
	if (header->type == WIRE_CHALLENGE)
		return on_challenge(self, peer, pair, now_us, opened);
	if (header->type == WIRE_ANSWER)
		return on_answer(self, peer, pair, now_us, opened);
	on_hello(self, peer, pair, 0, now_us, opened);
	return 0;
}

static int open_header(const struct seal_self *self, const struct seal_peer *peer,
		       const uint8_t *packet, size_t bytes, struct seal_opened *opened)
{
	const struct wire_header *header = &opened->header;
	opened->newest = opened->contact = opened->old = opened->conflict = false;
	opened->accused = opened->proven = false;
	opened->reply_bytes = opened->content_bytes = 0;
	if (bytes < WIRE_HEADER_BYTES + WIRE_SEAL_BYTES || bytes > WIRE_PACKET_MAX_BYTES)
		return GOSSIP_DROP_SHORT + 1;
	if (!wire_get_header(packet, bytes, &opened->header))
		return GOSSIP_DROP_MAGIC + 1;
	if (header->sender != peer->id || peer->pair_count == 0)
		return GOSSIP_DROP_SOURCE + 1;
	if (header->receiver_boot != 0 && header->receiver_boot != self->boot_id)
		return GOSSIP_DROP_BOOT + 1;
	return 0;
}

int seal_open(struct seal_self *self, struct seal_peer *peer, const uint8_t *packet, size_t bytes,
	      uint64_t now_us, struct seal_opened *opened)
{
	const struct wire_header *header = &opened->header;
	uint8_t pair = 0;
	int dropped = open_header(self, peer, packet, bytes, opened);
	if (dropped != 0)
		return dropped;
	if (header->type == WIRE_HEARTBEAT && header->sender_boot == peer->boot_id)
		return open_present(self, peer, packet, bytes, now_us, opened);
	enum seal_class class = header->type == WIRE_HELLO ? SEAL_BLIND : SEAL_KNOWING;
	if (!may_look(self, peer, class, now_us))
		return GOSSIP_DROP_FLOOD + 1;
	if (!open_seal(self, peer, packet, bytes, opened, &pair))
		return GOSSIP_DROP_SEAL + 1;
	return open_other(self, peer, pair, now_us, opened);
}

int seal_open_elsewhere(struct seal_self *self, struct seal_peer *peer, const uint8_t *packet,
			size_t bytes, uint64_t elsewhere, uint64_t now_us,
			struct seal_opened *opened)
{
	uint8_t pair = 0;
	int dropped = open_header(self, peer, packet, bytes, opened);
	if (dropped != 0)
		return dropped;
	bool hello = opened->header.type == WIRE_HELLO;
	if (!hello && opened->header.type != WIRE_ANSWER)
		return GOSSIP_DROP_SOURCE + 1;
	if (!take_token(&self->elsewhere, SEAL_ELSEWHERE_RATE, now_us))
		return GOSSIP_DROP_FLOOD + 1;
	if (!open_seal(self, peer, packet, bytes, opened, &pair))
		return GOSSIP_DROP_SEAL + 1;
	if (opened->content_bytes != WIRE_HANDSHAKE_BYTES)
		return GOSSIP_DROP_CONTENT + 1;
	if (hello)
		on_hello(self, peer, pair, elsewhere, now_us, opened);
	else if (is_cookie(opened->content, self, peer, opened->header.sender_boot, elsewhere,
			   now_us))
		opened->proven = true;
	else
		return GOSSIP_DROP_REPLAY + 1;
	return 0;
}
