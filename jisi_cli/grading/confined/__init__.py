"""What runs inside the child processes of graders: nothing here is imported by jisi itself."""
