/* For the tests of src/config: a directory of configuration files that each test fills anew. */
#ifndef SUPERVISOR_TESTS_CONFIG_FILES_H
#define SUPERVISOR_TESTS_CONFIG_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/config/config.h"

/* Keys that belong together: KEY_SECRET_1 to KEY_1. The others are only different. */
#define KEY_SECRET_1 "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
#define KEY_1	     "pOCSkrZRwni5dyxWn1+puxPZBrRqtoyd+dwrRAn4ogk="
#define KEY_2	     "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
#define KEY_3	     "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM="
#define KEY_4	     "BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ="
#define KEY_5	     "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU="
#define KEY_6	     "BgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgY="

#define CLUSTER_CONF                                                               \
	"cluster = demo\n"                                                         \
	"voters = data1 data2 php1 php2 web1\n"                                    \
	"[node data1]\nrole = data\naddress = 10.77.0.11/24\nkey = " KEY_1         \
	"\ndisk = serial:data\n"                                                   \
	"[node data2]\nrole = data\naddress = 10.77.0.12/24\nkey = " KEY_2         \
	"\ndisk = serial:data\n"                                                   \
	"[node php1]\nrole = php\naddress = 10.77.0.21/24\nkey = " KEY_3           \
	"\ncache = serial:cache\n"                                                 \
	"[node php2]\nrole = php\naddress = 10.77.0.22/24\nkey = " KEY_4 "\n"      \
	"[node web1]\nrole = web\naddress = 10.77.0.31/24\nkey = " KEY_5 "\n"      \
	"[node web2]\nrole = web\naddress = 10.77.0.32/24\nkey = " KEY_6 "\n"      \
	"[address web]\naddress = 10.77.0.100/24\nrole = web\nprefer = web1\n"     \
	"[address nfs-a]\naddress = 10.77.0.101/24\nrole = data\nprefer = data1\n" \
	"[address nfs-b]\naddress = 10.77.0.102/24\nrole = data\nprefer = data2\n" \
	"[share a.example]\naddress = nfs-a\n"                                     \
	"[share b.example]\naddress = nfs-b\n"

/* What the services of the project run as, and one user and group more. */
#define PASSWD                                                              \
	"root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/:/bin/false\n"   \
	"php:x:800:800::/:/bin/false\ngossip:x:801:801::/:/bin/false\n"     \
	"log:x:802:802::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n" \
	"anna:x:1000:1001::/:/bin/sh\n"
#define GROUP "root:x:0:\nwww-data:x:33:\nphp:x:800:\nlog:x:802:\nstaff:x:50:anna\nanna:x:1001:\n"

static char config_dir[64];
static struct config_report config_report;

static int config_files_begin(void **state)
{
	(void)state;
	snprintf(config_dir, sizeof(config_dir), "/tmp/test-config-XXXXXX");
	return mkdtemp(config_dir) ? 0 : -1;
}

static int config_files_end(void **state)
{
	char command[128];
	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", config_dir);
	return system(command);
}

/* Writes `name` below the directory, with the folders that it needs. */
static void config_file(const char *name, const char *text)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", config_dir, name);
	for (char *slash = path + strlen(config_dir); (slash = strchr(slash + 1, '/'));) {
		*slash = 0;
		mkdir(path, 0755);
		*slash = '/';
	}
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fputs(text, file) < 0, 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0600), 0);
}

static inline void config_remove(const char *name)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", config_dir, name);
	assert_int_equal(unlink(path), 0);
}

/* Loads profile "t" (NULL: what `profile` says) as `node`; NULL with findings in config_report. */
static struct config *config_try(const char *profile, const char *node)
{
	struct config_source source = {
		.directory = config_dir, .profile = profile, .node = node, .accounts = config_dir};
	memset(&config_report, 0, sizeof(config_report));
	config_file("passwd", PASSWD);
	config_file("group", GROUP);
	return config_load(&source, &config_report);
}

static struct config *config_good(const char *profile, const char *node)
{
	struct config *config = config_try(profile, node);
	for (size_t i = 0; i < config_report.count && i < CONFIG_FINDINGS_MAX; i++)
		print_error("%s\n", config_report.finding[i]);
	assert_non_null(config);
	assert_int_equal(config_report.count, 0);
	return config;
}

/* A finding without the name of the temporary directory before it. */
static const char *config_finding(size_t index)
{
	const char *finding = config_report.finding[index];
	size_t length = strlen(config_dir);
	if (strncmp(finding, config_dir, length) != 0)
		return finding;
	return finding[length] == '/' ? finding + length + 1 : finding + length;
}

/* Loading failed, and the first finding is this one. `row`: the line of the test's table. */
static inline void config_refused(int row, struct config *config, const char *expected)
{
	if (config || config_report.count == 0) {
		config_free(config);
		fail_msg("row at line %d: taken", row);
	}
	if (strcmp(config_finding(0), expected) != 0)
		fail_msg("row at line %d: reported\n  %s\nexpected\n  %s", row, config_finding(0),
			 expected);
}

static inline const struct service_def *config_service(const struct config *config,
						       const char *name)
{
	int index = config_find(config, name);
	if (index < 0)
		fail_msg("no service %s", name);
	return &config->service[index];
}

#endif
