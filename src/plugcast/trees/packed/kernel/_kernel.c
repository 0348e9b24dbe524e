/* The packed forests' walk as a Python module of the stable ABI. Optional: walk_numpy.py gives the same bits.
 *
 * Forest(...) takes the arrays of forest.py, copies them, and trusts none: every index that a walk will follow is
 * checked once, so that no walk needs to. Its methods allocate nothing.
 */
#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#include <Python.h>

#include "batch.h"

enum { RELEASE_FROM = 64 }; /* rows; giving up the interpreter's lock costs more than fewer take */

typedef struct {
    PyObject_HEAD
    Forest forest;
} ForestObject;

static int copy_of(void *target, const Py_buffer *from, size_t size, size_t items, const char *name)
{
    void **made = target;
    if (from->len < 0 || (size_t)from->len != size * items) {
        PyErr_Format(PyExc_ValueError, "%s: wanted %zu items of %zu bytes, found %zd bytes", name, items, size, from->len);
        return -1;
    }
    *made = malloc(size * items + 64); /* a little more: vectors may read a tree's last leaves in one go */
    if (*made == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memset((char *)*made + size * items, 0, 64);
    if (items)
        memcpy(*made, from->buf, size * items);
    return 0;
}

static int refuse(const char *why)
{
    PyErr_SetString(PyExc_ValueError, why);
    return -1;
}

static void release(Forest *f)
{
    void *all[] = {f->column_feature, f->column_missing, f->column_fill, f->cut_start, f->cuts,  f->tree,      f->ranked,
                   f->direct,         f->term_column,    f->term_weight, f->value,     f->slice, f->slice_leaf};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    memset(f, 0, sizeof *f);
}

/* Counts splits and leaves of every tree and checks that every way leads forward and stays inside. */
static int check_trees(Forest *f, const int32_t *root, const int32_t *right, const Py_buffer *shift)
{
    int32_t splits = 0;
    int64_t units = 0;
    if (shift->len != f->trees)
        return refuse("shifts are not one for each tree");
    f->sliced = f->sliced && f->kind == RANKED;
    for (int32_t t = 0; t < f->trees; t++) {
        Tree *tree = f->tree + t;
        int32_t start = root[t], end = root[t + 1];
        if (start < 0 || end <= start || end > f->nodes || end - start > MOST_TREE_NODES)
            return refuse("a tree is empty, too large or outside of the nodes");
        if (((const uint8_t *)shift->buf)[t] > 15)
            return refuse("a shift of more than 15");
        *tree = (Tree){.node = start, .nodes = end - start, .split = splits};
        tree->unit = (int32_t)1 << ((const uint8_t *)shift->buf)[t];
        units += tree->unit;
        for (int32_t i = start; i < end; i++) {
            if (right[i] == i)
                tree->leaves++;
            else if (right[i] <= i + 1 || right[i] >= end)
                return refuse("a right child is not behind its parent, or not in its tree");
            else
                tree->splits++;
        }
        if (right[end - 1] != end - 1 || tree->leaves != tree->splits + 1)
            return refuse("a tree does not end with a leaf");
        if (tree->leaves > SLICED_LEAVES)
            f->sliced = 0;
        splits += tree->splits;
    }
    if (units * 32768 > 0x7fffffff)
        return refuse("leaves whose sum may not fit in 32 bits");
    return 0;
}

static int by_size(const void *a, const void *b)
{
    const Tree *one = a, *other = b;
    if (one->nodes != other->nodes)
        return one->nodes < other->nodes ? -1 : 1;
    return one->node < other->node ? -1 : one->node > other->node;
}

static int fill_nodes(Forest *f, const int32_t *right, const Py_buffer *rank, const Py_buffer *threshold)
{
    size_t nodes = (size_t)f->nodes, wanted = f->kind == RANKED ? nodes : nodes * 4;
    const Py_buffer *given = f->kind == RANKED ? rank : threshold;
    if ((size_t)given->len != wanted)
        return refuse("ranks or thresholds are not one for each node");
    if (f->kind == RANKED)
        f->ranked = calloc(nodes + 16, sizeof *f->ranked);
    else
        f->direct = calloc(nodes + 16, sizeof *f->direct);
    if (f->ranked == NULL && f->direct == NULL)
        return PyErr_NoMemory(), -1;
    for (int32_t t = 0; t < f->trees; t++)
        for (int32_t i = 0; i < f->tree[t].nodes; i++) {
            int32_t node = f->tree[t].node + i, other = right[node] - f->tree[t].node;
            int leaf = right[node] == node;
            for (int j = 0; j < f->terms; j++)
                if (!leaf && f->term_column[(size_t)node * (size_t)f->terms + (size_t)j] >= f->columns)
                    return refuse("a node compares a column that is not there");
            uint16_t column = leaf ? 0 : f->term_column[(size_t)node * (size_t)f->terms];
            if (f->kind == RANKED) {
                uint8_t found = ((const uint8_t *)rank->buf)[node];
                if (!leaf && found == 255)
                    return refuse("a node's rank is beyond its thresholds");
                f->ranked[node] = (RankedNode){(uint8_t)column, leaf ? 0 : (uint8_t)(found + 1), (uint16_t)other};
            } else {
                float bound;
                memcpy(&bound, (const char *)threshold->buf + 4 * (size_t)node, 4);
                f->direct[node] = (DirectNode){leaf ? NAN : bound, column, (uint16_t)other};
            }
        }
    return 0;
}

/* The nodes for sliced.h: leaves and splits numbered in preorder. */
static int fill_slices(Forest *f)
{
    int32_t splits = 0;
    uint8_t name[2 * SLICED_LEAVES];
    for (int32_t t = 0; t < f->trees; t++)
        splits += f->tree[t].splits;
    f->slice = malloc(((size_t)splits + 1) * sizeof *f->slice);
    f->slice_leaf = calloc((size_t)f->trees * SLICED_LEAVES, sizeof *f->slice_leaf);
    if (f->slice == NULL || f->slice_leaf == NULL)
        return PyErr_NoMemory(), -1;
    for (int32_t t = 0; t < f->trees; t++) {
        const RankedNode *nodes = f->ranked + f->tree[t].node;
        int leaf = 0, split = 0;
        for (int32_t i = 0; i < f->tree[t].nodes; i++) {
            if (nodes[i].cut == 0) {
                f->slice_leaf[(size_t)t * SLICED_LEAVES + (size_t)leaf] = f->value[f->tree[t].node + i];
                name[i] = (uint8_t)leaf++;
            } else {
                name[i] = (uint8_t)(SLICED_LEAVES + split++);
            }
        }
        for (int32_t i = 0, n = 0; i < f->tree[t].nodes; i++)
            if (nodes[i].cut != 0)
                f->slice[f->tree[t].split + n++] =
                    (SlicedNode){nodes[i].column, (uint8_t)(nodes[i].cut - 1), name[i + 1], name[nodes[i].right]};
    }
    return 0;
}

static int check_columns(const Forest *f)
{
    if (f->cut_start[0] != 0)
        return refuse("thresholds do not start at 0");
    for (int32_t i = 0; i < f->features; i++)
        if (f->cut_start[i] > f->cut_start[i + 1] || f->cut_start[i + 1] - f->cut_start[i] > 255)
            return refuse("a feature has more than 255 thresholds, or fewer than none");
    for (int32_t c = 0; c < f->columns; c++)
        if (f->column_feature[c] >= f->features || f->column_missing[c] > FILL)
            return refuse("a column has no feature, or no rule for missing values");
    return 0;
}

enum { FEATURE, MISSING, COLUMN_FILL, CUT_START, CUTS, ROOT, NODE_RIGHT, COLUMN, RANK, THRESHOLD, WEIGHT, VALUE, SHIFT, PARTS };

static int fill_checked(Forest *f, Py_buffer *part, const int32_t *root, const int32_t *right)
{
    if (check_trees(f, root, right, part + SHIFT))
        return -1;
    /* trees of a size walk together; the sum of integers does not care about their order */
    qsort(f->tree, (size_t)f->trees, sizeof *f->tree, by_size);
    if (fill_nodes(f, right, part + RANK, part + THRESHOLD))
        return -1;
    if (f->kind != HYPERPLANE) {
        free(f->term_column);
        f->term_column = NULL;
    }
    return f->sliced ? fill_slices(f) : 0;
}

static int fill(Forest *f, Py_buffer *part)
{
    int32_t *root = NULL, *right = NULL; /* aligned, whatever the buffers are */
    int failed;
    size_t columns, nodes = (size_t)part[NODE_RIGHT].len / 4, terms = (size_t)f->terms;
    if (f->kind < RANKED || f->kind > HYPERPLANE || f->link < IDENTITY || f->link > EXPONENTIAL || f->terms < 1 ||
        f->terms > MOST_TERMS || f->features < 1 || f->features > 65535)
        return refuse("a kind, link, number of terms or number of features that does not exist");
    if (nodes < 1 || nodes > 0x7fffff00 || part[ROOT].len < 8 || part[ROOT].len > 4 * 65536)
        return refuse("no trees, or too many");
    columns = (size_t)part[FEATURE].len / 2;
    if (columns > (f->kind == RANKED ? (size_t)MOST_RANKED_COLUMNS : (size_t)MOST_COLUMNS))
        return refuse("too many columns");
    f->columns = (int32_t)columns;
    f->nodes = (int32_t)nodes;
    f->trees = (int32_t)(part[ROOT].len / 4 - 1);
    if (copy_of(&f->column_feature, part + FEATURE, 2, columns, "columns") ||
        copy_of(&f->column_missing, part + MISSING, 1, columns, "missing") ||
        copy_of(&f->column_fill, part + COLUMN_FILL, 4, columns, "fill") ||
        copy_of(&f->cut_start, part + CUT_START, 4, (size_t)f->features + 1, "cut_start") || check_columns(f) ||
        copy_of(&f->cuts, part + CUTS, 4, f->cut_start[f->features], "cuts") ||
        copy_of(&f->term_column, part + COLUMN, 2, nodes * terms, "column") ||
        copy_of(&f->value, part + VALUE, 2, nodes, "value"))
        return -1;
    if (f->kind == HYPERPLANE && copy_of(&f->term_weight, part + WEIGHT, 4, nodes * terms, "weight"))
        return -1;
    f->tree = calloc((size_t)f->trees, sizeof *f->tree);
    if (f->tree == NULL)
        return PyErr_NoMemory(), -1;
    failed = copy_of(&root, part + ROOT, 4, (size_t)f->trees + 1, "root") ||
             copy_of(&right, part + NODE_RIGHT, 4, nodes, "right") || fill_checked(f, part, root, right);
    free(root);
    free(right);
    return failed ? -1 : 0;
}

static PyObject *forest_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_buffer part[PARTS];
    Forest made = {0};
    ForestObject *self = NULL;
    int level, may_slice, failed;
    if (kwargs != NULL && PyDict_Size(kwargs) != 0)
        return PyErr_SetString(PyExc_TypeError, "Forest takes no keywords"), NULL;
    if (!PyArg_ParseTuple(args, "iiiidddipy*y*y*y*y*y*y*y*y*y*y*y*y*", &made.kind, &made.link, &made.terms, &made.features,
                          &made.base, &made.scale, &made.slope, &level, &may_slice, part, part + 1, part + 2, part + 3, part + 4, part + 5,
                          part + 6, part + 7, part + 8, part + 9, part + 10, part + 11, part + 12))
        return NULL;
    made.level = level < PLAIN || level > best_level() ? best_level() : level;
    made.sliced = may_slice;
    failed = fill(&made, part);
    for (int i = 0; i < PARTS; i++)
        PyBuffer_Release(part + i);
    if (!failed) {
        allocfunc make = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
        self = (ForestObject *)make(type, 0);
    }
    if (self == NULL) {
        release(&made);
        return NULL;
    }
    self->forest = made;
    return (PyObject *)self;
}

static void forest_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    release(&((ForestObject *)self)->forest);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* Rows of a float32 or float64 buffer; returns how many, -1 with an error set. */
static Py_ssize_t rows_of(const Forest *f, PyObject *given, Py_buffer *view, Rows *rows)
{
    const char *format;
    Py_ssize_t count;
    if (PyObject_GetBuffer(given, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT))
        return -1;
    format = view->format ? view->format : "";
    if (format[0] == '<' || format[0] == '=' || format[0] == '@')
        format++;
    count = view->ndim == 1 ? 1 : view->ndim == 2 ? view->shape[0] : -1;
    if ((strcmp(format, "f") != 0 && strcmp(format, "d") != 0) || count < 0 ||
        view->shape[view->ndim - 1] != f->features) {
        PyErr_Format(PyExc_ValueError, "wanted rows of %d float32 or float64 values", (int)f->features);
        PyBuffer_Release(view);
        return -1;
    }
    *rows = (Rows){.at = view->buf, .is_double = format[0] == 'd', .features = f->features};
    return count;
}

/* The float64 output of exactly this many items. */
static int output_of(PyObject *given, Py_buffer *view, Py_ssize_t items)
{
    if (PyObject_GetBuffer(given, view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE | PyBUF_FORMAT))
        return -1;
    if (view->format == NULL || strcmp(view->format, "d") != 0 || view->len != items * 8) {
        PyErr_Format(PyExc_ValueError, "wanted a writable float64 output of %zd values", items);
        PyBuffer_Release(view);
        return -1;
    }
    return 0;
}

#include "shapley_type.h"

enum { ANSWERS, RAW, EXPLAIN };

static PyObject *into(PyObject *self, PyObject *const *args, Py_ssize_t count, int what)
{
    const Forest *f = &((ForestObject *)self)->forest;
    Py_buffer input, output;
    Rows rows;
    Py_ssize_t found;
    PyThreadState *others = NULL;
    if (count != 2)
        return PyErr_SetString(PyExc_TypeError, "wanted rows and an output"), NULL;
    found = rows_of(f, args[0], &input, &rows);
    if (found < 0)
        return NULL;
    if (output_of(args[1], &output, what == EXPLAIN ? found * f->features : found)) {
        PyBuffer_Release(&input);
        return NULL;
    }
    if (found >= RELEASE_FROM)
        others = PyEval_SaveThread();
    if (what == EXPLAIN)
        explanations(f, &rows, (size_t)found, output.buf);
    else
        answers(f, &rows, (size_t)found, output.buf, what == ANSWERS);
    if (others != NULL)
        PyEval_RestoreThread(others);
    PyBuffer_Release(&output);
    PyBuffer_Release(&input);
    Py_RETURN_NONE;
}

static PyObject *predict_into(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    return into(self, args, count, ANSWERS);
}

static PyObject *raw_into(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    return into(self, args, count, RAW);
}

static PyObject *contributions_into(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    if (((ForestObject *)self)->forest.kind == HYPERPLANE)
        return PyErr_SetString(PyExc_ValueError, "hyperplanes are explained by walk_numpy"), NULL;
    return into(self, args, count, EXPLAIN);
}

static PyObject *predict_row(PyObject *self, PyObject *given)
{
    const Forest *f = &((ForestObject *)self)->forest;
    Py_buffer input;
    Rows rows;
    Py_ssize_t found = rows_of(f, given, &input, &rows);
    double answer;
    if (found < 0)
        return NULL;
    if (found != 1) {
        PyBuffer_Release(&input);
        return PyErr_SetString(PyExc_ValueError, "wanted one row"), NULL;
    }
    answer = answer_of(f, total_of_row(f, &rows, 0), 1);
    PyBuffer_Release(&input);
    return PyFloat_FromDouble(answer);
}

static PyObject *way(PyObject *self, PyObject *nothing)
{
    static const char *const names[] = {"plain", "avx2", "avx512"};
    const Forest *f = &((ForestObject *)self)->forest;
    (void)nothing;
    return PyUnicode_FromFormat("%s-%s", f->sliced ? "sliced" : "walked", names[f->level]);
}

static PyMethodDef methods[] = {
    {"predict_into", (PyCFunction)(void (*)(void))predict_into, METH_FASTCALL, "predict_into(rows, out): answers."},
    {"raw_into", (PyCFunction)(void (*)(void))raw_into, METH_FASTCALL, "raw_into(rows, out): raw scores."},
    {"contributions_into", (PyCFunction)(void (*)(void))contributions_into, METH_FASTCALL,
     "contributions_into(rows, out): (rows, features) parts of the raw score."},
    {"predict_row", predict_row, METH_O, "predict_row(row): the answer as a float."},
    {"way", way, METH_NOARGS, "way(): how batches are scored, and with which vectors."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, (void *)forest_new},
    {Py_tp_dealloc, (void *)forest_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_doc, "A packed forest, checked and copied; see forest.py for the arrays."},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "plugcast.trees.packed._kernel.Forest",
    .basicsize = sizeof(ForestObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

static int add_type(PyObject *module, PyType_Spec *of, const char *name)
{
    PyObject *type = PyType_FromSpec(of);
    if (type == NULL)
        return -1;
    int failed = PyModule_AddObjectRef(module, name, type);
    Py_DECREF(type);
    return failed;
}

static int module_exec(PyObject *module)
{
    return add_type(module, &spec, "Forest") || add_type(module, &shapley_spec, "Shapley") ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, (void *)module_exec}, {0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "_kernel", .m_doc = "The packed forests' walk in C.", .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__kernel(void)
{
    return PyModuleDef_Init(&module);
}
