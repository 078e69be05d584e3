"""What people look at: charts and reports of images in few colors."""
