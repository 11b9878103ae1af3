"""Plain results in, tables, Markdown and PNG out. Computes no score; imports matplotlib only when it draws."""
