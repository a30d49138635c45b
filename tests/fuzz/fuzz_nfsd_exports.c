/* Any bytes as a question of the kernel's caches: an answer is one line that repeats the question's
 * words. */
#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "services/nfsd/exports.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct cluster cluster;
	static struct exports_line line;
	struct exports exports = {
		.cluster = &cluster, .address = &cluster.address[0], .root = "/data"};

	if (cluster.node_count == 0) {
		cluster.node_count = cluster.address_count = cluster.share_count = 1;
		strcpy(cluster.node[0].role, "php");
		inet_pton(AF_INET, "10.77.0.21", &cluster.node[0].address.address);
		strcpy(cluster.share[0].name, "a.example");
		cluster.share[0].address = &cluster.address[0];
	}
	if (size == 0)
		return 0;
	if (!exports_answer(&exports, data[0] % EXPORTS_CACHES, (const char *)data + 1, size - 1,
			    (data[0] & 0x80) != 0, &line))
		return 0;
	assert(line.length > 0 && line.length <= sizeof(line.text));
	for (size_t i = 0; i < line.length; i++)
		assert((line.text[i] == '\n') == (i == line.length - 1) && line.text[i] >= '\n');
	return 0;
}
