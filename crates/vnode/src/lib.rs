//! rkv-vnode
