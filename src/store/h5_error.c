#include <stdio.h>
#include <string.h>

#include "h5_private.h"
#include "refract/comm/agree.h"

enum { REASON_BYTES = 400, REASONS = 2 };

typedef struct reasons {
    char text[REASONS][REASON_BYTES];
    int count;
} reasons;

/* "file write failed: time = ..., error message = 'No space left on device', ..." is cut to its
   first words and the system's own. */
static void shorten(char *out, const char *text)
{
    static const char mark[] = "error message = '";
    const char *message = strstr(text, mark);
    const size_t head = strcspn(text, ":,");
    if (!message) {
        snprintf(out, REASON_BYTES, "%s", text);
        return;
    }
    message += sizeof mark - 1;
    snprintf(out, REASON_BYTES, "%.*s: %.*s", (int)head, text, (int)strcspn(message, "'"), message);
}

/* HDF5 walks from the innermost failure outwards; the first words tell the cause. */
static herr_t note(unsigned n, const H5E_error2_t *error, void *context)
{
    reasons *found = context;
    (void)n;
    if (found->count < REASONS && error->desc && error->desc[0])
        shorten(found->text[found->count++], error->desc);
    return 0;
}

static const char *hint_for(const rf_h5 *file, const reasons *found)
{
    for (int i = 0; i < found->count; i++) {
        const char *text = found->text[i];
        if (strstr(text, "lock file"))
            return "Another program may hold it open; on a file system without locks set "
                   "HDF5_USE_FILE_LOCKING=FALSE";
        if (strstr(text, "No space") || strstr(text, "quota") || strstr(text, "MPI_ERR_NO_SPACE"))
            return "Free some space or choose another output";
    }
    return file->writing ? "Check the disk and the permissions"
                         : "The file is damaged or not what it should be";
}

rf_status rf_h5_fail(const rf_h5 *file, const char *doing, const char *object)
{
    reasons found = {.count = 0};
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, note, &found);
    H5Eclear2(H5E_DEFAULT);
    const char *cause = found.count > 0 ? found.text[0] : "HDF5 gives no reason";
    return rf_fail(file->writing ? RF_WRITE : RF_INPUT, "cannot %s%s%s%s '%s': %s%s%s. %s", doing,
                   object ? " '" : "", object ? object : "", object ? "' of" : "", file->path,
                   cause, found.count > 1 ? "; " : "", found.count > 1 ? found.text[1] : "",
                   hint_for(file, &found));
}

rf_status rf_h5_agree(const rf_h5 *file, rf_status local)
{
    return file->comm == MPI_COMM_NULL ? local : rf_agree(file->comm, local);
}

/* Every call into HDF5 forgets the last failure, whose words are still wanted. */
void rf_h5_drop(hid_t id)
{
    if (id < 0) return;
    const hid_t kept = H5Eget_num(H5E_DEFAULT) > 0 ? H5Eget_current_stack() : -1;
    if (H5Idec_ref(id) < 0) H5Eclear2(H5E_DEFAULT);
    if (kept >= 0) H5Eset_current_stack(kept);
}
