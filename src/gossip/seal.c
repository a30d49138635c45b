#include "src/gossip/seal.h"

#include <sodium.h>
#include <string.h>

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
		    const uint8_t expected[GOSSIP_KEY_BYTES])
{
	uint64_t sequence = self->sequence;
	memset(self, 0, sizeof(*self));
	self->sequence = sequence;
	self->id = id;
	self->boot_id = boot_id;
	memcpy(self->secret_key, secret_key, sizeof(self->secret_key));
	randombytes_buf(self->cookie_key, sizeof(self->cookie_key));
	return crypto_scalarmult_curve25519_base(self->public_key, secret_key) == 0 &&
	       memcmp(self->public_key, expected, sizeof(self->public_key)) == 0;
}

bool seal_peer_init(struct seal_peer *peer, const struct seal_self *self, uint64_t id,
		    const uint8_t public_key[GOSSIP_KEY_BYTES])
{
	static const char label[] = "supervisor gossip pair 1";
	uint8_t point[crypto_scalarmult_curve25519_BYTES];
	bool first = memcmp(self->public_key, public_key, GOSSIP_KEY_BYTES) < 0;

	memset(peer, 0, sizeof(*peer));
	peer->id = id;
	peer->tokens_milli = SEAL_BUCKET * 1000;
	if (crypto_scalarmult_curve25519(point, self->secret_key, public_key) != 0)
		return false;
	crypto_generichash_state state;
	crypto_generichash_init(&state, point, sizeof(point), sizeof(peer->shared));
	crypto_generichash_update(&state, (const uint8_t *)label, sizeof(label));
	crypto_generichash_update(&state, first ? self->public_key : public_key, GOSSIP_KEY_BYTES);
	crypto_generichash_update(&state, first ? public_key : self->public_key, GOSSIP_KEY_BYTES);
	crypto_generichash_final(&state, peer->shared, sizeof(peer->shared));
	sodium_memzero(point, sizeof(point));
	return true;
}

static void put64(uint8_t *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

/* One key a direction and a pair of boots. */
static void derive(uint8_t key[SEAL_KEY_BYTES], const struct seal_peer *peer, uint64_t sender,
		   uint64_t receiver, uint64_t sender_boot, uint64_t receiver_boot)
{
	uint8_t text[32];
	put64(text, sender);
	put64(text + 8, receiver);
	put64(text + 16, sender_boot);
	put64(text + 24, receiver_boot);
	crypto_generichash(key, SEAL_KEY_BYTES, text, sizeof(text), peer->shared,
			   sizeof(peer->shared));
}

static void make_nonce(uint8_t nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES],
		       const struct wire_header *header)
{
	put64(nonce, header->salt);
	put64(nonce + 8, header->sequence);
	put64(nonce + 16, header->sender_boot);
}

/* out has room for header, content and tag. */
static size_t seal_packet(struct seal_self *self, const struct seal_peer *peer, uint8_t type,
			  uint64_t receiver_boot, const uint8_t *content, size_t content_bytes,
			  uint64_t now_us, uint8_t *out)
{
	size_t bytes = WIRE_HEADER_BYTES + content_bytes + WIRE_SEAL_BYTES;
	/* The clock keeps it growing when this process is replaced by another of the same boot. */
	self->sequence = now_us > self->sequence ? now_us : self->sequence + 1;
	struct wire_header header = {
		.version = WIRE_VERSION,
		.version_min = WIRE_VERSION_MIN,
		.type = type,
		.length = (uint16_t)bytes,
		.sender = self->id,
		.sender_boot = self->boot_id,
		.receiver_boot = receiver_boot,
		.sequence = self->sequence,
	};
	/* Should a machine be resumed twice from one snapshot, nonces still differ. */
	randombytes_buf(&header.salt, sizeof(header.salt));

	uint8_t nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES], key[SEAL_KEY_BYTES];
	if (type == WIRE_HEARTBEAT)
		memcpy(key, peer->send_key, sizeof(key));
	else
		derive(key, peer, self->id, peer->id, self->boot_id, receiver_boot);
	make_nonce(nonce, &header);
	wire_put_header(out, &header);
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
	return seal_packet(self, peer, WIRE_HEARTBEAT, peer->boot_id, content, content_bytes,
			   now_us, out);
}

size_t seal_hello(struct seal_self *self, struct seal_peer *peer, uint64_t now_us,
		  uint8_t out[WIRE_PACKET_MAX_BYTES])
{
	uint8_t content[WIRE_HANDSHAKE_BYTES] = {0};
	if (peer->hello_sent_us != 0 &&
	    now_us - peer->hello_sent_us < SEAL_HELLO_MS * US_PER_MS * 9 / 10)
		return 0;
	/* An open challenge stays, so that a late answer to it still counts. */
	if (peer->hello_us == 0 || now_us - peer->hello_us > SEAL_CHALLENGE_MS * US_PER_MS) {
		randombytes_buf(peer->challenge, sizeof(peer->challenge));
		peer->hello_us = now_us;
	}
	peer->hello_sent_us = now_us;
	memcpy(content, peer->challenge, sizeof(peer->challenge));
	return seal_packet(self, peer, WIRE_HELLO, 0, content, sizeof(content), now_us, out);
}

/*
 * Depends on nothing that is kept, so a stored HELLO of an earlier boot, sent again, costs one
 * packet and no memory. `period` makes it die.
 */
static void make_cookie(uint8_t cookie[WIRE_TOKEN_BYTES], const struct seal_self *self,
			const struct seal_peer *peer, uint64_t boot_id, uint64_t period)
{
	uint8_t text[24];
	put64(text, peer->id);
	put64(text + 8, boot_id);
	put64(text + 16, period);
	crypto_generichash(cookie, WIRE_TOKEN_BYTES, text, sizeof(text), self->cookie_key,
			   sizeof(self->cookie_key));
}

static bool is_cookie(const uint8_t cookie[WIRE_TOKEN_BYTES], const struct seal_self *self,
		      const struct seal_peer *peer, uint64_t boot_id, uint64_t now_us)
{
	uint64_t period = now_us / (SEAL_COOKIE_MS * US_PER_MS);
	for (uint64_t ago = 0; ago < 2; ago++) {
		uint8_t expected[WIRE_TOKEN_BYTES];
		make_cookie(expected, self, peer, boot_id, period - ago);
		if (sodium_memcmp(expected, cookie, sizeof(expected)) == 0)
			return true;
	}
	return false;
}

static bool take_token(struct seal_peer *peer, uint64_t now_us)
{
	uint64_t passed_ms = (now_us - peer->filled_us) / US_PER_MS;
	if (peer->filled_us == 0 || passed_ms > 1000)
		passed_ms = 1000;
	if (passed_ms > 0) {
		uint64_t tokens = peer->tokens_milli + passed_ms * SEAL_BUCKET_FILL;
		peer->tokens_milli =
			tokens > SEAL_BUCKET * 1000 ? SEAL_BUCKET * 1000 : (uint32_t)tokens;
		peer->filled_us = now_us;
	}
	if (peer->tokens_milli < 1000)
		return false;
	peer->tokens_milli -= 1000;
	return true;
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

static void begin_session(const struct seal_self *self, struct seal_peer *peer,
			  const struct wire_header *header, uint64_t now_us,
			  struct seal_opened *opened)
{
	peer->hello_us = 0;
	peer->stranger = false;
	if (peer->boot_id == header->sender_boot)
		return;
	peer->boot_id = header->sender_boot;
	peer->since_us = now_us;
	derive(peer->send_key, peer, self->id, peer->id, self->boot_id, peer->boot_id);
	derive(peer->receive_key, peer, peer->id, self->id, peer->boot_id, self->boot_id);
	/* What this boot said to an earlier process of ours must not be said again to us. */
	peer->floor = header->sequence;
	memset(peer->window, 0, sizeof(peer->window));
	opened->contact = true;
}

static void on_hello(struct seal_self *self, struct seal_peer *peer, const uint8_t *content,
		     uint64_t now_us, struct seal_opened *opened)
{
	uint8_t reply[WIRE_HANDSHAKE_BYTES];
	memcpy(reply, content, WIRE_TOKEN_BYTES);
	make_cookie(reply + WIRE_TOKEN_BYTES, self, peer, opened->header.sender_boot,
		    now_us / (SEAL_COOKIE_MS * US_PER_MS));
	opened->reply_bytes = seal_packet(self, peer, WIRE_CHALLENGE, opened->header.sender_boot,
					  reply, sizeof(reply), now_us, opened->reply);
}

static int on_challenge(struct seal_self *self, struct seal_peer *peer, const uint8_t *content,
			uint64_t now_us, struct seal_opened *opened)
{
	if (peer->hello_us == 0 || now_us - peer->hello_us > SEAL_CHALLENGE_MS * US_PER_MS ||
	    sodium_memcmp(content, peer->challenge, WIRE_TOKEN_BYTES) != 0)
		return GOSSIP_DROP_REPLAY + 1;
	begin_session(self, peer, &opened->header, now_us, opened);
	uint8_t reply[WIRE_HANDSHAKE_BYTES] = {0};
	memcpy(reply, content + WIRE_TOKEN_BYTES, WIRE_TOKEN_BYTES);
	opened->reply_bytes = seal_packet(self, peer, WIRE_ANSWER, opened->header.sender_boot,
					  reply, sizeof(reply), now_us, opened->reply);
	return 0;
}

static int on_answer(struct seal_self *self, struct seal_peer *peer, const uint8_t *content,
		     uint64_t now_us, struct seal_opened *opened)
{
	if (!is_cookie(content, self, peer, opened->header.sender_boot, now_us))
		return GOSSIP_DROP_REPLAY + 1;
	begin_session(self, peer, &opened->header, now_us, opened);
	return 0;
}

/* Key and freshness by what the header claims; the seal then proves the header, too. */
static int open_seal(const struct seal_self *self, const struct seal_peer *peer,
		     const uint8_t *packet, size_t bytes, struct seal_opened *opened)
{
	const struct wire_header *header = &opened->header;
	uint8_t nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES], key[SEAL_KEY_BYTES];
	bool present = header->type == WIRE_HEARTBEAT && header->sender_boot == peer->boot_id &&
		       header->receiver_boot == self->boot_id;
	if (present)
		memcpy(key, peer->receive_key, sizeof(key));
	else
		derive(key, peer, peer->id, self->id, header->sender_boot, header->receiver_boot);
	make_nonce(nonce, header);
	unsigned long long content_bytes = 0;
	int failed = crypto_aead_xchacha20poly1305_ietf_decrypt(
		opened->content, &content_bytes, NULL, packet + WIRE_HEADER_BYTES,
		bytes - WIRE_HEADER_BYTES, packet, WIRE_HEADER_BYTES, nonce, key);
	sodium_memzero(key, sizeof(key));
	opened->content_bytes = (size_t)content_bytes;
	return failed != 0 ? GOSSIP_DROP_SEAL + 1 : 0;
}

int seal_open(struct seal_self *self, struct seal_peer *peer, const uint8_t *packet, size_t bytes,
	      uint64_t now_us, struct seal_opened *opened)
{
	const struct wire_header *header = &opened->header;
	opened->newest = opened->contact = false;
	opened->reply_bytes = opened->content_bytes = 0;
	if (bytes < WIRE_HEADER_BYTES + WIRE_SEAL_BYTES || bytes > WIRE_PACKET_MAX_BYTES)
		return GOSSIP_DROP_SHORT + 1;
	if (!wire_get_header(packet, bytes, &opened->header))
		return GOSSIP_DROP_MAGIC + 1;
	if (header->sender != peer->id)
		return GOSSIP_DROP_SOURCE + 1;
	if (!take_token(peer, now_us))
		return GOSSIP_DROP_FLOOD + 1;
	if (header->receiver_boot != 0 && header->receiver_boot != self->boot_id)
		return GOSSIP_DROP_BOOT + 1;
	bool heartbeat = header->type == WIRE_HEARTBEAT;
	bool present = header->sender_boot == peer->boot_id;
	if (heartbeat && present && is_replay(peer, header->sequence))
		return GOSSIP_DROP_REPLAY + 1;

	int failed = open_seal(self, peer, packet, bytes, opened);
	if (failed != 0)
		return failed;
	if (heartbeat && !present) {
		/* It or we were restarted, and the handshake has not come this way yet. */
		peer->stranger = true;
		return GOSSIP_DROP_BOOT + 1;
	}
	if (heartbeat) {
		opened->newest = remember(peer, header->sequence);
		return 0;
	}
	if (opened->content_bytes != WIRE_HANDSHAKE_BYTES)
		return GOSSIP_DROP_CONTENT + 1;
	if (header->type == WIRE_CHALLENGE)
		return on_challenge(self, peer, opened->content, now_us, opened);
	if (header->type == WIRE_ANSWER)
		return on_answer(self, peer, opened->content, now_us, opened);
	on_hello(self, peer, opened->content, now_us, opened);
	return 0;
}
