#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "h5_private.h"

int rf_h5_has(rf_h5 *file, const char *path)
{
    const hid_t object = rf_h5_object(file, path);
    rf_h5_drop(object);
    return object >= 0;
}

typedef struct walk {
    rf_h5_visitor *visit;
    void *context;
    rf_status status;
} walk;

static herr_t meet_object(hid_t root, const char *name, const H5O_info_t *info, void *context)
{
    walk *walking = context;
    (void)root;
    if (info->type != H5O_TYPE_DATASET) return 0;
    char *path = NULL;
    if (asprintf(&path, "/%s", name) < 0) return -1;
    walking->status = walking->visit(walking->context, path);
    free(path);
    return walking->status == RF_OK ? 0 : 1;
}

static herr_t meet_attribute(hid_t object, const char *name, const H5A_info_t *info, void *context)
{
    walk *walking = context;
    (void)object;
    (void)info;
    walking->status = walking->visit(walking->context, name);
    return walking->status == RF_OK ? 0 : 1;
}

rf_status rf_h5_each_set(rf_h5 *file, rf_h5_visitor *visit, void *context)
{
    walk walking = {.visit = visit, .context = context, .status = RF_OK};
    const herr_t end =
        H5Ovisit2(file->id, H5_INDEX_NAME, H5_ITER_INC, meet_object, &walking, H5O_INFO_BASIC);
    if (end < 0) walking.status = rf_h5_fail(file, "list the datasets of", NULL);
    return rf_h5_agree(file, walking.status);
}

rf_status rf_h5_each_attribute(rf_h5 *file, const char *path, rf_h5_visitor *visit, void *context)
{
    walk walking = {.visit = visit, .context = context, .status = RF_OK};
    hsize_t at = 0;
    const herr_t end = H5Aiterate_by_name(file->id, path, H5_INDEX_NAME, H5_ITER_INC, &at,
                                          meet_attribute, &walking, H5P_DEFAULT);
    if (end < 0) walking.status = rf_h5_fail(file, "list the attributes of", path);
    return rf_h5_agree(file, walking.status);
}

rf_status rf_h5_link(rf_h5 *file, const char *path, const char *target_file,
                     const char *target_path)
{
    const hid_t links = H5Pcreate(H5P_LINK_CREATE);
    herr_t made = H5Pset_create_intermediate_group(links, 1);
    if (made >= 0)
        made = H5Lcreate_external(target_file, target_path, file->id, path, links, H5P_DEFAULT);
    const rf_status status = made >= 0 ? RF_OK : rf_h5_fail(file, "create link", path);
    rf_h5_drop(links);
    return rf_h5_agree(file, status);
}
