/* shapley.h as a Python type; part of _kernel.c. Like Forest it copies its arrays and checks every index once. */
#ifndef PLUGCAST_SHAPLEY_TYPE_H
#define PLUGCAST_SHAPLEY_TYPE_H

#include "shapley.h"

typedef struct {
    PyObject_HEAD
    Shapley shapley;
} ShapleyObject;

enum { S_FEATURE, S_THRESHOLD, S_RIGHT, S_MISSING_LEFT, S_ANSWER, S_ROWS, S_ROOT, S_PARTS };

static void shapley_release(Shapley *s)
{
    free(s->root);
    free(s->branch);
    free(s->table);
    memset(s, 0, sizeof *s);
}

/* Parents, the last time that a way asked the same feature, and shares; returns the most features on a way, or -1. */
static int shapley_tree_ways(Shapley *s, int32_t start, int32_t nodes, const double *rows, double *share)
{
    Branch *b = s->branch + start;
    int most = 0;
    for (int32_t i = 0; i < nodes; i++)
        b[i].parent = -1;
    for (int32_t i = 0; i < nodes; i++) {
        if (b[i].right == i)
            continue;
        if (b[i].right <= i + 1 || b[i].right >= nodes || b[i + 1].parent >= 0 || b[b[i].right].parent >= 0)
            return refuse("a right child is not behind its parent, or two nodes have one child");
        if (b[i].feature >= s->features)
            return refuse("a node asks a feature that is not there");
        b[i + 1].parent = b[b[i].right].parent = i;
        b[i + 1].is_left = 1;
    }
    share[0] = 1.0;
    for (int32_t i = 1; i < nodes; i++) {
        int32_t up = b[i].parent, deep = 0, other = 0;
        if (up < 0)
            return refuse("a node that no way leads to");
        b[i].asked = b[up].feature;
        for (int32_t at = up; at > 0; at = b[at].parent) {
            if (++deep > MOST_DEPTH)
                return refuse("a tree that is too deep");
            if (!b[i].before && b[at].asked == b[i].asked)
                b[i].before = at;
        }
        if (!(rows[i] > 0 && rows[up] > 0 && isfinite(rows[i]) && isfinite(rows[up])))
            return refuse("a node that no training row reached");
        share[i] = share[b[i].before] * (rows[i] / rows[up]);
        if (b[i].right != i)
            continue;
        for (int32_t at = i; at > 0; at = b[at].parent)
            other += b[at].before == 0;
        most = other > most ? other : most;
    }
    return most;
}

static int shapley_ways(Shapley *s, Py_buffer *part, const int32_t *right, const double *rows, double *share)
{
    int most = 1;
    for (int32_t tree = 0; tree < s->trees; tree++) {
        int32_t start = s->root[tree], nodes = s->root[tree + 1] - start;
        int found;
        if (start < 0 || nodes < 1 || s->root[tree + 1] > s->nodes || nodes > MOST_TREE_NODES)
            return refuse("a tree is empty, too large or outside of the nodes");
        for (int32_t i = start; i < start + nodes; i++) {
            int32_t feature;
            Branch *b = s->branch + i;
            memcpy(&feature, (const char *)part[S_FEATURE].buf + 4 * (size_t)i, 4);
            memcpy(&b->threshold, (const char *)part[S_THRESHOLD].buf + 8 * (size_t)i, 8);
            memcpy(&b->answer, (const char *)part[S_ANSWER].buf + 8 * (size_t)i, 8);
            b->missing_left = ((const uint8_t *)part[S_MISSING_LEFT].buf)[i] != 0;
            b->feature = feature < 0 || feature > 65535 ? 65535 : (uint16_t)feature;
            if (right[i] < start || right[i] >= start + nodes)
                return refuse("a right child outside of its tree");
            b->right = right[i] - start;
        }
        found = shapley_tree_ways(s, start, nodes, rows + start, share + start);
        if (found < 0)
            return -1;
        most = found > most ? found : most;
        s->most_nodes = nodes > s->most_nodes ? nodes : s->most_nodes;
    }
    s->points = ((most + 1) / 2 + QUAD - 1) / QUAD * QUAD; /* n points are exact up to the degree 2 n - 1 */
    return s->points > MOST_POINTS ? refuse("a way that asks more features than 64") : 0;
}

static int shapley_fill(Shapley *s, Py_buffer *part)
{
    static const size_t size[S_PARTS] = {4, 8, 4, 1, 8, 8, 4};
    int32_t *right = NULL;
    double *rows = NULL, *share = NULL;
    size_t nodes = (size_t)part[S_RIGHT].len / 4, trees = (size_t)part[S_ROOT].len / 4 - 1;
    int failed;
    if (s->features < 1 || s->features > 65535 || nodes < 1 || nodes > 0x1000000 || part[S_ROOT].len < 8 || trees > nodes)
        return refuse("no trees, or too many, or a number of features that does not exist");
    for (int i = 0; i < S_ROOT; i++)
        if ((size_t)part[i].len != size[i] * nodes)
            return refuse("arrays are not one item for each node");
    s->nodes = (int32_t)nodes;
    s->trees = (int32_t)trees;
    s->branch = calloc(nodes, sizeof *s->branch);
    share = calloc(nodes, sizeof *share);
    if (s->branch == NULL || share == NULL) {
        free(share);
        return PyErr_NoMemory(), -1;
    }
    failed = copy_of(&s->root, part + S_ROOT, 4, trees + 1, "root") || copy_of(&right, part + S_RIGHT, 4, nodes, "right") ||
             copy_of(&rows, part + S_ROWS, 8, nodes, "rows") || shapley_ways(s, part, right, rows, share);
    if (!failed) {
        s->table = calloc(nodes * (size_t)s->points, TABLES * sizeof *s->table);
        if (s->table == NULL)
            failed = (PyErr_NoMemory(), 1);
        else
            fill_tables(s, share);
    }
    free(share);
    free(right);
    free(rows);
    return failed ? -1 : 0;
}

static PyObject *shapley_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_buffer part[S_PARTS];
    Shapley made = {0};
    ShapleyObject *self = NULL;
    int level, failed;
    if (kwargs != NULL && PyDict_Size(kwargs) != 0)
        return PyErr_SetString(PyExc_TypeError, "Shapley takes no keywords"), NULL;
    if (!PyArg_ParseTuple(args, "iiy*y*y*y*y*y*y*", &made.features, &level, part, part + 1, part + 2, part + 3, part + 4,
                          part + 5, part + 6))
        return NULL;
    made.level = level < PLAIN || level > best_level() ? best_level() : level;
    failed = shapley_fill(&made, part);
    for (int i = 0; i < S_PARTS; i++)
        PyBuffer_Release(part + i);
    if (!failed) {
        allocfunc make = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
        self = (ShapleyObject *)make(type, 0);
    }
    if (self == NULL) {
        shapley_release(&made);
        return NULL;
    }
    self->shapley = made;
    return (PyObject *)self;
}

static void shapley_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    shapley_release(&((ShapleyObject *)self)->shapley);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *shapley_values_into(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    const Shapley *s = &((ShapleyObject *)self)->shapley;
    Py_buffer input, output;
    double *scratch;
    size_t rows;
    if (count != 2)
        return PyErr_SetString(PyExc_TypeError, "wanted rows and an output"), NULL;
    if (PyObject_GetBuffer(args[0], &input, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT))
        return NULL;
    if (input.format == NULL || strcmp(input.format, "d") != 0 || input.ndim != 2 || input.shape[1] != s->features) {
        PyErr_Format(PyExc_ValueError, "wanted rows of %d float64 values", (int)s->features);
        PyBuffer_Release(&input);
        return NULL;
    }
    rows = (size_t)input.shape[0];
    if (output_of(args[1], &output, input.shape[0] * s->features)) {
        PyBuffer_Release(&input);
        return NULL;
    }
    scratch = malloc(shapley_scratch(s));
    if (scratch != NULL) {
        PyThreadState *others = PyEval_SaveThread();
        shapley_values(s, input.buf, rows, scratch, output.buf);
        PyEval_RestoreThread(others);
        free(scratch);
    }
    PyBuffer_Release(&output);
    PyBuffer_Release(&input);
    if (scratch == NULL)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *shapley_points(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    return PyLong_FromLong(((ShapleyObject *)self)->shapley.points);
}

static PyMethodDef shapley_methods[] = {
    {"values_into", (PyCFunction)(void (*)(void))shapley_values_into, METH_FASTCALL,
     "values_into(rows, out): (rows, features) exact Shapley values of the trees' summed answers."},
    {"points", shapley_points, METH_NOARGS, "points(): of the rule that integrates."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot shapley_slots[] = {
    {Py_tp_new, (void *)shapley_new},
    {Py_tp_dealloc, (void *)shapley_dealloc},
    {Py_tp_methods, shapley_methods},
    {Py_tp_doc, "Trees, checked, copied and tabulated; see trees/packed/shapley.py for the arrays."},
    {0, NULL},
};

static PyType_Spec shapley_spec = {
    .name = "plugcast.trees.packed._kernel.Shapley",
    .basicsize = sizeof(ShapleyObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = shapley_slots,
};

#endif
