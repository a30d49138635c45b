/* Where service, profile and template files come from: the directory, or what is compiled in. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/config/embedded.h"
#include "src/config/file.h"
#include "src/config/load.h"

static bool ends_with(const char *text, const char *suffix)
{
	size_t length = strlen(text), wanted = strlen(suffix);
	return length > wanted && strcmp(text + length - wanted, suffix) == 0;
}

struct source_file *source_file_by_name(const struct source_files *files, const char *name,
					size_t length)
{
	for (size_t i = 0; i < files->count; i++) {
		if (strncmp(files->file[i].name, name, length) == 0 &&
		    files->file[i].name[length] == 0)
			return &files->file[i];
	}
	return NULL;
}

static bool add(struct loader *loader, struct source_files *files, struct source_file file)
{
	if (!file.name || !file.shown || !file.folder) {
		config_report_add(loader->report, "services", 0, "out of memory");
		return false;
	}
	struct source_file *same = source_file_by_name(files, file.name, strlen(file.name));
	if (same) {
		config_report_add(loader->report, file.shown, 0,
				  "found a second file of that name, the first is %s", same->shown);
		return false;
	}
	if (files->count == SERVICE_FILES_MAX) {
		config_report_add(loader->report, file.shown, 0, "found more than %d files",
				  SERVICE_FILES_MAX);
		return false;
	}
	files->file[files->count++] = file;
	return true;
}

/*
 * DIRECTORY/FOLDER/NAME.SUFFIX and, below services, DIRECTORY/FOLDER/ANY/NAME.SUFFIX as in the
 * source tree. `below`: the subfolder to read, NULL: the folder itself.
 */
static bool add_directory(struct loader *loader, const char *folder, const char *below,
			  const char *suffix, struct source_files *files)
{
	const char *path =
		below ? arena_printf(loader->arena, "%s/%s/%s", loader->directory, folder, below)
		      : arena_printf(loader->arena, "%s/%s", loader->directory, folder);
	struct dirent **entry;
	int count = path ? scandir(path, &entry, NULL, alphasort) : -1;
	bool good = true;
	if (count < 0) {
		if (path && (errno == ENOENT || errno == ENOTDIR))
			return true;
		config_report_add(loader->report, path ? path : folder, 0, "cannot be read: %s",
				  strerror(errno));
		return false;
	}
	for (int i = 0; i < count; i++) {
		const char *name = entry[i]->d_name;
		if (name[0] == '.') {
			;
		} else if (ends_with(name, suffix)) {
			size_t length = strlen(name) - strlen(suffix);
			size_t base = strcspn(name, "@") < length ? strcspn(name, "@") : length;
			good &= add(
				loader, files,
				(struct source_file){
					.name = arena_strndup(loader->arena, name, length),
					.shown = arena_printf(loader->arena, "%s/%s", path, name),
					.folder = below ? arena_printf(loader->arena, "%s/%s",
								       folder, below)
							: arena_printf(loader->arena, "%s/%.*s",
								       folder, (int)base, name),
				});
		} else if (!below && strcmp(suffix, ".service") == 0) {
			good &= add_directory(loader, folder, name, suffix, files);
		}
		free(entry[i]);
	}
	free(entry);
	return good;
}

/* What is compiled in, unless the directory has a file of the same name. */
static bool add_embedded(struct loader *loader, const char *folder, const char *suffix,
			 struct source_files *files, size_t overrides)
{
	bool good = true;
	for (size_t i = 0; i < embedded_file_count; i++) {
		const struct embedded_file *embedded = &embedded_files[i];
		const char *slash = strrchr(embedded->name, '/');
		size_t in = strlen(folder);
		if (!slash || strncmp(embedded->name, folder, in) != 0 ||
		    embedded->name[in] != '/' || !ends_with(embedded->name, suffix))
			continue;
		const struct source_files own = {files->file, overrides};
		size_t length = strlen(slash + 1) - strlen(suffix);
		struct source_file *same = source_file_by_name(&own, slash + 1, length);
		char *built_in_folder = arena_strndup(loader->arena, embedded->name,
						      (size_t)(slash - embedded->name));
		if (same) {
			/* Its template files stay where they are, whichever way the directory is
			 * laid out. */
			if (built_in_folder)
				same->folder = built_in_folder;
			continue;
		}
		good &= add(loader, files,
			    (struct source_file){
				    .name = arena_strndup(loader->arena, slash + 1, length),
				    .shown = arena_printf(loader->arena, "(built-in)/%s",
							  embedded->name),
				    .folder = built_in_folder,
				    .text = embedded->text,
				    .size = embedded->size,
			    });
	}
	return good;
}

bool source_files_find(struct loader *loader, const char *folder, const char *suffix,
		       struct source_files *files)
{
	files->count = 0;
	files->file = arena_alloc(loader->scratch, SERVICE_FILES_MAX * sizeof(*files->file));
	if (!files->file) {
		config_report_add(loader->report, folder, 0, "out of memory");
		return false;
	}
	bool good = add_directory(loader, folder, NULL, suffix, files);
	return add_embedded(loader, folder, suffix, files, files->count) && good;
}

bool source_file_load(struct loader *loader, struct source_file *file)
{
	struct file_text text;
	if (file->text)
		return true;
	int error = file_read(loader->scratch, file->shown, &text);
	if (error) {
		config_report_add(loader->report, file->shown, 0, "cannot be read: %s",
				  error == EINVAL ? "not a regular file" : strerror(error));
		return false;
	}
	file->text = text.text;
	file->size = text.size;
	source_note(loader, file->shown, text.text, text.size);
	return true;
}

void source_note(struct loader *loader, const char *shown, const char *text, size_t size)
{
	if (!loader->texts)
		return;
	crypto_generichash_update(loader->texts, (const uint8_t *)shown, strlen(shown) + 1);
	crypto_generichash_update(loader->texts, (const uint8_t *)&size, sizeof(size));
	crypto_generichash_update(loader->texts, (const uint8_t *)text, size);
}

const char *source_template(struct loader *loader, const struct place *place,
			    const struct source_file *service, const char *name,
			    const struct expand_scope *scope, size_t *size)
{
	if (strchr(name, '/') || name[0] == '.' || !ends_with(name, ".in")) {
		place_expected(place, name, "the name of a file FILE.in beside the service's");
		return NULL;
	}
	struct file_text text;
	const char *path =
		arena_printf(loader->arena, "%s/%s/%s", loader->directory, service->folder, name);
	int error = path ? file_read(loader->scratch, path, &text) : ENOMEM;
	if (error == 0)
		return expand_template(loader->arena, loader->scratch, loader->report, path, scope,
				       text.text, text.size, size);
	if (error != ENOENT && error != ENOTDIR) {
		place_wrong(place, "%s cannot be read: %s", path ? path : name, strerror(error));
		return NULL;
	}
	const char *built_in =
		arena_printf(loader->arena, "(built-in)/%s/%s", service->folder, name);
	for (size_t i = 0; built_in && i < embedded_file_count; i++) {
		if (strcmp(embedded_files[i].name, built_in + strlen("(built-in)/")) == 0)
			return expand_template(loader->arena, loader->scratch, loader->report,
					       built_in, scope, embedded_files[i].text,
					       embedded_files[i].size, size);
	}
	place_wrong(place, "found no file %s, neither as %s nor built in", name, path);
	return NULL;
}
