#include <string.h>

#include "h5_private.h"
#include "h5_type.h"

/* IEEE half precision: HDF5 1.10 has no name for it, but can describe it. */
static hid_t half_type(void)
{
    const hid_t type = H5Tcopy(H5T_IEEE_F32LE);
    if (type >= 0 && H5Tset_fields(type, 15, 10, 5, 0, 10) >= 0 && H5Tset_size(type, 2) >= 0 &&
        H5Tset_ebias(type, 15) >= 0)
        return type;
    rf_h5_drop(type);
    return -1;
}

hid_t rf_h5_number_type(rf_dtype dtype)
{
    switch (dtype) {
    case RF_F32:
        return H5Tcopy(H5T_IEEE_F32LE);
    case RF_F64:
        return H5Tcopy(H5T_IEEE_F64LE);
    case RF_BF16:
        return H5Tcopy(H5T_STD_U16LE);
    case RF_F16:
        return half_type();
    case RF_I32:
        return H5Tcopy(H5T_STD_I32LE);
    case RF_I64:
        return H5Tcopy(H5T_STD_I64LE);
    case RF_U8:
        return H5Tcopy(H5T_STD_U8LE);
    default: /* blocks are no numbers */
        return -1;
    }
}

hid_t rf_h5_text_type(size_t bytes, H5T_str_t padding)
{
    const hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 && H5Tset_size(type, bytes) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0 &&
        H5Tset_strpad(type, padding) >= 0)
        return type;
    rf_h5_drop(type);
    return -1;
}

hid_t rf_h5_layout_type(const rf_h5_layout *layout)
{
    return layout->text > 0 ? rf_h5_text_type((size_t)layout->text, H5T_STR_NULLPAD)
                            : rf_h5_number_type(layout->dtype);
}

/* Which of ours a type in a file is; 0 when it is none. */
static int identify(hid_t type, rf_h5_layout *layout)
{
    if (H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0) {
        layout->text = (int)H5Tget_size(type);
        return 1;
    }
    for (rf_dtype dtype = RF_F32; dtype <= RF_U8; dtype++) {
        const hid_t ours = rf_h5_number_type(dtype);
        const int same = H5Tequal(type, ours) > 0;
        rf_h5_drop(ours);
        layout->dtype = dtype;
        if (same) return 1;
    }
    return 0;
}

static int read_extent(hid_t set, rf_h5_layout *layout)
{
    hsize_t size[RF_H5_DIMS] = {0}, chunk[RF_H5_DIMS] = {0};
    const hid_t space = H5Dget_space(set);
    layout->dims = H5Sget_simple_extent_ndims(space);
    const int known = layout->dims >= 1 && layout->dims <= RF_H5_DIMS &&
                      H5Sget_simple_extent_dims(space, size, NULL) >= 0;
    rf_h5_drop(space);
    if (!known) return 0;
    for (int i = 0; i < layout->dims; i++) layout->size[i] = (int64_t)size[i];
    const hid_t properties = H5Dget_create_plist(set);
    if (H5Pget_layout(properties) == H5D_CHUNKED &&
        H5Pget_chunk(properties, layout->dims, chunk) > 0)
        layout->chunk = (int64_t)chunk[0];
    rf_h5_drop(properties);
    return 1;
}

int rf_h5_read_layout(hid_t set, rf_h5_layout *layout)
{
    *layout = (rf_h5_layout){.dims = 0};
    const hid_t type = H5Dget_type(set);
    const int known = type >= 0 && identify(type, layout) && read_extent(set, layout);
    rf_h5_drop(type);
    return known;
}

rf_h5_layout rf_h5_vector(rf_dtype dtype, int64_t n)
{
    return (rf_h5_layout){.dtype = dtype, .dims = 1, .size = {n}};
}

rf_h5_layout rf_h5_matrix(rf_dtype dtype, int64_t rows, int64_t cols)
{
    return (rf_h5_layout){.dtype = dtype, .dims = 2, .size = {rows, cols}};
}

static hid_t make_space(const rf_h5_layout *layout)
{
    hsize_t size[RF_H5_DIMS], most[RF_H5_DIMS];
    for (int i = 0; i < layout->dims; i++) most[i] = size[i] = (hsize_t)layout->size[i];
    if (layout->chunk > 0) most[0] = H5S_UNLIMITED;
    return H5Screate_simple(layout->dims, size, most);
}

/* A fixed extent gets its place at once (what fills it later changes no metadata); what grows is
   cut into chunks of rows. */
static hid_t make_properties(const rf_h5_layout *layout)
{
    hsize_t chunk[RF_H5_DIMS];
    for (int i = 0; i < layout->dims; i++)
        chunk[i] = (hsize_t)(layout->size[i] > 0 ? layout->size[i] : 1);
    chunk[0] = (hsize_t)layout->chunk;
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    herr_t status = H5Pset_obj_track_times(properties, 0);
    if (status >= 0 && layout->chunk > 0) status = H5Pset_chunk(properties, layout->dims, chunk);
    if (status >= 0 && layout->chunk == 0)
        status = H5Pset_alloc_time(properties, H5D_ALLOC_TIME_EARLY);
    if (status >= 0) return properties;
    rf_h5_drop(properties);
    return -1;
}

static rf_status create_set(rf_h5 *file, const char *path, const rf_h5_layout *layout)
{
    const hid_t links = H5Pcreate(H5P_LINK_CREATE);
    const hid_t type = rf_h5_layout_type(layout), space = make_space(layout);
    const hid_t properties = make_properties(layout);
    hid_t set = -1;
    if (H5Pset_create_intermediate_group(links, 1) >= 0)
        set = H5Dcreate2(file->id, path, type, space, links, properties, H5P_DEFAULT);
    const rf_status status = set >= 0 ? RF_OK : rf_h5_fail(file, "create dataset", path);
    rf_h5_drop(set);
    rf_h5_drop(properties);
    rf_h5_drop(space);
    rf_h5_drop(type);
    rf_h5_drop(links);
    return status;
}

rf_status rf_h5_create_set(rf_h5 *file, const char *path, const rf_h5_layout *layout)
{
    RF_ASSERT(layout->dims >= 1 && layout->dims <= RF_H5_DIMS, "'%s': %d dimensions", path,
              layout->dims);
    RF_ASSERT(layout->chunk == 0 || file->comm == MPI_COMM_NULL,
              "'%s': datasets of parallel files have a fixed size", path);
    const rf_status status = rf_h5_agree(file, create_set(file, path, layout));
    if (status != RF_OK || layout->text > 0 || layout->dtype != RF_BF16) return status;
    return rf_h5_put_text(file, path, "encoding", "bfloat16");
}

rf_status rf_h5_layout_of(rf_h5 *file, const char *path, rf_h5_layout *layout)
{
    rf_h5_set *set = NULL;
    RF_TRY(rf_h5_set_open(&set, file, path));
    *layout = *rf_h5_set_layout(set);
    rf_h5_set_close(&set);
    return RF_OK;
}
