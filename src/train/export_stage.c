/* A folder is written beside its final name and gets it when all is complete and synced. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "export_parts.h"
#include "refract/base/file.h"
#include "refract/comm/agree.h"

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static void remove_all(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* 1 for a folder whose README.md an export has written. */
static int is_export(const char *folder)
{
    char path[PATH_MAX + 16];
    char *text = NULL;
    size_t length = 0;
    snprintf(path, sizeof path, "%s/README.md", folder);
    if (rf_file_read(&text, &length, path, (size_t)1 << 20) != RF_OK) return 0;
    const int found = strstr(text, EXPORT_MARK) != NULL;
    free(text);
    return found;
}

static rf_status check_out(const char *out, int force)
{
    struct stat info;
    if (lstat(out, &info) != 0) return RF_OK;
    if (!force)
        return rf_fail(RF_USAGE,
                       "'%s' is there already (--out). Name another folder or add --force", out);
    if (S_ISDIR(info.st_mode) && is_export(out)) return RF_OK;
    return rf_fail(RF_USAGE,
                   "'%s' is no earlier export, which is all that --force replaces (--out). Name "
                   "another folder",
                   out);
}

static rf_status make_folders(export_stage *stage)
{
    char parent[PATH_MAX];
    if (strlen(stage->out) == 0 || strlen(stage->out) > PATH_MAX - 64)
        return rf_fail(RF_USAGE, "'%.200s' cannot be a folder (--out). Name another one",
                       stage->out);
    snprintf(parent, sizeof parent, "%s", stage->out);
    size_t length = strlen(parent);
    while (length > 1 && parent[length - 1] == '/') parent[--length] = '\0';
    snprintf(stage->folder, sizeof stage->folder, "%.4000s.tmp", parent);
    char *slash = strrchr(parent, '/');
    if (slash && slash != parent) {
        *slash = '\0';
        RF_TRY(rf_folder_make(parent));
    }
    remove_all(stage->folder); /* of an export that was killed */
    if (mkdir(stage->folder, 0777) != 0)
        return rf_fail(RF_WRITE, "cannot make the folder %s: %s", stage->folder, strerror(errno));
    stage->is_open = 1;
    return RF_OK;
}

static rf_status open_on_root(export_stage *stage, int force)
{
    RF_TRY(check_out(stage->out, force));
    return make_folders(stage);
}

rf_status export_stage_open(export_stage *stage, MPI_Comm world, const char *out, int force)
{
    int rank = 0;
    MPI_Comm_rank(world, &rank);
    *stage = (export_stage){.world = world, .is_root = rank == 0, .out = out};
    RF_TRY_ALL(world, stage->is_root ? open_on_root(stage, force) : RF_OK);
    MPI_Bcast(stage->folder, (int)sizeof stage->folder, MPI_CHAR, 0, world);
    return RF_OK;
}

/* An earlier export stands aside until the new one has its name. */
static rf_status publish(export_stage *stage)
{
    char final[PATH_MAX], older[PATH_MAX];
    const int length = (int)strlen(stage->folder) - 4; /* ".tmp" */
    snprintf(final, sizeof final, "%.*s", length, stage->folder);
    snprintf(older, sizeof older, "%.*s.old", length, stage->folder);
    if (RF_FAULT_AT("export.publish"))
        return rf_fail(RF_WRITE, "cannot write %s: %s. See the space left", final, strerror(EIO));
    const int has_older = access(final, F_OK) == 0;
    if (has_older) {
        remove_all(older);
        if (rename(final, older) != 0)
            return rf_fail(RF_WRITE, "cannot replace %s: %s. See the folder's rights", final,
                           strerror(errno));
    }
    const rf_status status = rf_file_publish(stage->folder, final);
    if (status != RF_OK) {
        if (has_older && access(final, F_OK) != 0 && rename(older, final) != 0)
            return rf_fail(RF_WRITE, "%s could not be put back: it is %s", final, older);
        return status;
    }
    stage->is_open = 0;
    if (has_older) remove_all(older);
    return RF_OK;
}

rf_status export_stage_publish(export_stage *stage)
{
    return rf_agree(stage->world, stage->is_root ? publish(stage) : RF_OK);
}

void export_stage_close(export_stage *stage)
{
    if (stage->is_open) remove_all(stage->folder);
    stage->is_open = 0;
}
