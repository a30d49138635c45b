#include "services/nfsd/exports.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* linux/nfsd/export.h */
#define EXPORT_READONLY	  0x0001
#define EXPORT_ROOTSQUASH 0x0004
#define EXPORT_NO_SUBTREE 0x0400
#define EXPORT_FSID	  0x2000
#define EXPORT_V4ROOT	  0x10000 /* nothing below may be walked into but exports of their own */

#define HANDLE_TYPE_NUMBER "1" /* FSID_NUM: four bytes, as this machine stores them */
#define NOBODY		   65534
#define FOR_EVER	   "2147483647" /* seconds since 1970; until the cache is flushed */
#define WORD_BYTES	   1100 /* longest word looked at: an NFS name is at most 255 bytes */

const char *exports_cache_name(enum exports_cache cache)
{
	static const char *const names[EXPORTS_CACHES] = {
		[EXPORTS_CLIENT] = "auth.unix.ip",
		[EXPORTS_EXPORT] = "nfsd.export",
		[EXPORTS_HANDLE] = "nfsd.fh",
	};

	return names[cache];
}

/* FNV-1a, 32 bits: short, and spreads the few names of a cluster file well enough; exports_id_clash
 * looks. */
uint32_t exports_share_id(const char *share_name)
{
	uint32_t hash = 2166136261u;

	for (const char *at = share_name; *at != '\0'; at++)
		hash = (hash ^ (uint8_t)*at) * 16777619u;
	/* The kernel reads and prints it as a signed number. */
	hash &= INT32_MAX;
	return hash != 0 ? hash : 1;
}

const struct cluster_share *exports_id_clash(const struct cluster *cluster)
{
	for (size_t i = 0; i < cluster->share_count; i++)
		for (size_t j = 0; j < i; j++)
			if (exports_share_id(cluster->share[i].name) ==
			    exports_share_id(cluster->share[j].name))
				return &cluster->share[i];
	return NULL;
}

struct reader {
	const char *at, *end;
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* Three octal digits at `at` as one byte; -1: not that. */
static int octal_byte(const char *at, const char *end)
{
	int value = 0;

	if (end - at < 3)
		return -1;
	for (int i = 0; i < 3; i++) {
		if (at[i] < '0' || at[i] > '7')
			return -1;
		value = value * 8 + (at[i] - '0');
	}
	return value <= 255 ? value : -1;
}

/*
 * The next word, unquoted: \ooo is a byte; a word that begins with \x is all hexadecimal. False:
 * there is none, it is malformed, or too long. The result ends in a NUL that is not counted.
 */
static bool next_word(struct reader *reader, uint8_t word[WORD_BYTES], size_t *length)
{
	const char *at = reader->at, *end = reader->end;

	*length = 0;
	while (at < end && *at == ' ')
		at++;
	if (at == end)
		return false;
	bool hex = end - at >= 2 && at[0] == '\\' && at[1] == 'x';
	if (hex)
		at += 2;
	while (at < end && *at != ' ') {
		int byte = (uint8_t)*at;
		if (hex) {
			int high = hex_digit(*at++);
			int low = at < end ? hex_digit(*at) : -1;
			byte = high < 0 || low < 0 ? -1 : high * 16 + low;
			at++;
		} else if (*at == '\\') {
			byte = octal_byte(at + 1, end);
			at += 4;
		} else {
			at++;
		}
		if (byte < 0 || *length >= WORD_BYTES - 1)
			return false;
		word[(*length)++] = (uint8_t)byte;
	}
	word[*length] = '\0';
	reader->at = at;
	return true;
}

static void put_char(struct exports_line *line, char c)
{
	if (line->length < sizeof(line->text))
		line->text[line->length++] = c;
}

static void put_space(struct exports_line *line)
{
	if (line->length > 0)
		put_char(line, ' ');
}

/* A word that we made ourselves, of harmless characters. */
static void put_plain(struct exports_line *line, const char *word)
{
	put_space(line);
	while (*word != '\0')
		put_char(line, *word++);
}

static void put_number(struct exports_line *line, uint32_t number)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", number);
	put_plain(line, text);
}

static void put_quoted(struct exports_line *line, const uint8_t *word, size_t length)
{
	put_space(line);
	for (size_t i = 0; i < length; i++) {
		if (word[i] > ' ' && word[i] < 0x7f && word[i] != '\\') {
			put_char(line, (char)word[i]);
			continue;
		}
		put_char(line, '\\');
		put_char(line, (char)('0' + (word[i] >> 6)));
		put_char(line, (char)('0' + (word[i] >> 3 & 7)));
		put_char(line, (char)('0' + (word[i] & 7)));
	}
}

static void put_hex(struct exports_line *line, const uint8_t *word, size_t length)
{
	static const char digits[] = "0123456789abcdef";

	put_plain(line, "\\x");
	for (size_t i = 0; i < length; i++) {
		put_char(line, digits[word[i] >> 4]);
		put_char(line, digits[word[i] & 15]);
	}
}

static bool is_text(const uint8_t *word, size_t length, const char *text)
{
	return strlen(text) == length && memcmp(word, text, length) == 0;
}

/* A role that may be a client at all: data nodes have the filesystem itself. */
static bool is_client_role(const char *role)
{
	return strcmp(role, "data") != 0;
}

static bool is_client_domain(const struct exports *exports, const uint8_t *domain, size_t length)
{
	for (size_t i = 0; i < exports->cluster->node_count; i++) {
		const char *role = exports->cluster->node[i].role;
		if (is_client_role(role) && is_text(domain, length, role))
			return true;
	}
	return false;
}

/* "nfsd ADDRESS" -> "nfsd ADDRESS EXPIRY [DOMAIN]" */
static bool answer_client(const struct exports *exports, struct reader *reader, bool refuse,
			  struct exports_line *answer)
{
	uint8_t service[WORD_BYTES], address[WORD_BYTES];
	size_t service_length, address_length;
	struct in_addr parsed;

	if (!next_word(reader, service, &service_length) ||
	    !next_word(reader, address, &address_length))
		return false;
	put_quoted(answer, service, service_length);
	put_quoted(answer, address, address_length);
	put_plain(answer, FOR_EVER);
	if (refuse || !is_text(service, service_length, "nfsd") ||
	    inet_pton(AF_INET, (const char *)address, &parsed) != 1)
		return true;
	for (size_t i = 0; i < exports->cluster->node_count; i++) {
		const struct cluster_node *node = &exports->cluster->node[i];
		if (node->address.address.s_addr == parsed.s_addr && is_client_role(node->role))
			put_plain(answer, node->role);
	}
	return true;
}

/* The share of this address whose directory `path` is; NULL: none. */
static const struct cluster_share *share_at(const struct exports *exports, const uint8_t *path,
					    size_t length)
{
	size_t root_length = strlen(exports->root);

	if (length <= root_length + 1 || memcmp(path, exports->root, root_length) != 0 ||
	    path[root_length] != '/')
		return NULL;
	for (size_t i = 0; i < exports->cluster->share_count; i++) {
		const struct cluster_share *share = &exports->cluster->share[i];
		if (share->address == exports->address &&
		    is_text(path + root_length + 1, length - root_length - 1, share->name))
			return share;
	}
	return NULL;
}

/* "DOMAIN PATH" -> "DOMAIN PATH EXPIRY [FLAGS ANONYMOUS-UID ANONYMOUS-GID FSID]" */
static bool answer_export(const struct exports *exports, struct reader *reader, bool refuse,
			  struct exports_line *answer)
{
	uint8_t domain[WORD_BYTES], path[WORD_BYTES];
	size_t domain_length, path_length;
	uint32_t flags = EXPORT_FSID | EXPORT_NO_SUBTREE | EXPORT_ROOTSQUASH, id = 0;

	if (!next_word(reader, domain, &domain_length) || !next_word(reader, path, &path_length))
		return false;
	put_quoted(answer, domain, domain_length);
	put_quoted(answer, path, path_length);
	put_plain(answer, FOR_EVER);
	if (refuse || !is_client_domain(exports, domain, domain_length))
		return true;

	const struct cluster_share *share = share_at(exports, path, path_length);
	if (share != NULL)
		id = exports_share_id(share->name);
	else if (is_text(path, path_length, exports->root))
		flags |= EXPORT_V4ROOT | EXPORT_READONLY;
	else
		return true;
	if (is_text(domain, domain_length, "web"))
		flags |= EXPORT_READONLY;
	put_number(answer, flags);
	put_number(answer, NOBODY);
	put_number(answer, NOBODY);
	put_number(answer, id);
	return true;
}

/* "DOMAIN TYPE \xID" -> "DOMAIN TYPE \xID EXPIRY [PATH]" */
static bool answer_handle(const struct exports *exports, struct reader *reader, bool refuse,
			  struct exports_line *answer)
{
	uint8_t domain[WORD_BYTES], type[WORD_BYTES], key[WORD_BYTES];
	size_t domain_length, type_length, key_length;
	uint32_t id;
	char path[WORD_BYTES];

	if (!next_word(reader, domain, &domain_length) || !next_word(reader, type, &type_length) ||
	    !next_word(reader, key, &key_length))
		return false;
	put_quoted(answer, domain, domain_length);
	put_quoted(answer, type, type_length);
	put_hex(answer, key, key_length);
	put_plain(answer, FOR_EVER);
	if (refuse || !is_client_domain(exports, domain, domain_length) ||
	    !is_text(type, type_length, HANDLE_TYPE_NUMBER) || key_length != sizeof(id))
		return true;
	memcpy(&id, key, sizeof(id));
	if (id == 0) {
		put_quoted(answer, (const uint8_t *)exports->root, strlen(exports->root));
		return true;
	}
	for (size_t i = 0; i < exports->cluster->share_count; i++) {
		const struct cluster_share *share = &exports->cluster->share[i];
		if (share->address == exports->address && exports_share_id(share->name) == id) {
			int length =
				snprintf(path, sizeof(path), "%s/%s", exports->root, share->name);
			put_quoted(answer, (const uint8_t *)path, (size_t)length);
			return true;
		}
	}
	return true;
}

bool exports_answer(const struct exports *exports, enum exports_cache cache, const char *question,
		    size_t length, bool refuse, struct exports_line *answer)
{
	struct reader reader = {.at = question, .end = question + length};
	bool understood = false;

	if (length > 0 && question[length - 1] == '\n')
		reader.end--;
	answer->length = 0;
	switch (cache) {
	case EXPORTS_CLIENT:
		understood = answer_client(exports, &reader, refuse, answer);
		break;
	case EXPORTS_EXPORT:
		understood = answer_export(exports, &reader, refuse, answer);
		break;
	case EXPORTS_HANDLE:
		understood = answer_handle(exports, &reader, refuse, answer);
		break;
	case EXPORTS_CACHES:
		break;
	}
	/* A line that fills the buffer may have lost its end. */
	if (!understood || answer->length >= sizeof(answer->text))
		return false;
	answer->text[answer->length++] = '\n';
	return true;
}
