/*
 * Service, profile and template files with any bytes in them. The first byte says which: s, p or
 * t; an i after an s makes it a template's instance. What is refused must have been reported, and
 * what is taken must be sound.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "src/config/load.h"

static const char cluster_conf[] =
	"cluster = demo\nvoters = data1\n"
	"[node data1]\nrole = data\naddress = 10.0.0.1/24\ndisk = serial:data\n"
	"key = AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"
	"[node data2]\nrole = data\naddress = 10.0.0.2/24\ndisk = serial:data\n"
	"key = AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n"
	"[node php1]\nrole = php\naddress = 10.0.0.3/24\n"
	"key = AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\n"
	"[address nfs]\naddress = 10.0.0.9/24\nrole = data\nprefer = data1\n"
	"[share a]\naddress = nfs\n"
	"[share b]\naddress = nfs\n";

static const struct cluster *cluster(void)
{
	static struct arena arena;
	static struct config_report report;
	static struct cluster *parsed;
	if (!parsed)
		parsed = cluster_parse(&arena, "cluster.conf", cluster_conf, strlen(cluster_conf),
				       &report);
	assert(parsed);
	return parsed;
}

static void sound(const struct service_def *def)
{
	assert(strlen(def->name) < SERVICE_NAME_BYTES);
	assert(def->description && def->directory && def->instance);
	if (def->kind == SERVICE_GROUP)
		return;
	assert(def->start.argv.count > 0 && !def->start.argv.word[def->start.argv.count]);
	assert(def->restart_delay_ms > 0 && def->restart_delay_ms <= def->restart_delay_max_ms);
	for (size_t i = 0; i < def->listen_count; i++)
		assert(def->listen[i].address_length > 0 &&
		       def->listen[i].address_length <= sizeof(def->listen[i].address));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config_report report;
	struct arena arena = {0}, scratch = {0};
	if (size < 1)
		return 0;
	report.count = report.seen = 0;
	struct source_file file = {.name = "s",
				   .shown = "s.service",
				   .folder = "services/lighttpd",
				   .text = (const char *)data + 1,
				   .size = size - 1};
	const struct config_source source = {0};
	struct loader loader = {
		.source = &source,
		.arena = &arena,
		.scratch = &scratch,
		.report = &report,
		.directory = "/nonexistent",
		.scope = {.node = "data1", .cluster = cluster(), .self = &cluster()->node[0]},
		.accounts = {.passwd = "root:x:0:0::\nphp:x:800:800::\n",
			     .group = "staff:x:50:\nbad::\n"}};
	bool good = true;

	if (data[0] == 's') {
		static struct service_draft draft;
		bool instance = size > 1 && data[1] == 'i';
		file.text += instance;
		file.size -= instance;
		service_pool_size(&loader, &file);
		service_read(&loader, &file, instance ? "s@a" : "s", instance ? "a" : NULL, &draft);
		good = !draft.failed;
		if (good)
			sound(&draft.def);
	} else if (data[0] == 'p') {
		struct profile profile;
		good = profile_read(&loader, &file, false, &profile);
	} else if (data[0] == 't') {
		size_t bytes = 0;
		loader.scope.instance = "a";
		const char *text = expand_template(&arena, &scratch, &report, "t.in", &loader.scope,
						   file.text, file.size, &bytes);
		good = text;
		assert(!text || (strlen(text) == bytes && bytes <= TEMPLATE_BYTES_MAX));
	}
	assert(good == (report.seen == 0));
	arena_free(&arena);
	arena_free(&scratch);
	return 0;
}
